"""Engines that run a variant: open_model(weights, adapters, *, ...), a context manager of an lm."""
