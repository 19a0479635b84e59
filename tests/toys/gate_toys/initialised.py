"""A module that initialises what does not work in a forked process, as far as torch can tell."""

import torch

torch.cuda._is_in_bad_fork = lambda: True
