"""A module that ends the process that imports it."""

import sys

sys.exit("no imports here")
