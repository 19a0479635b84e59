"""Engines that run a variant: open_model(weights, adapters, *, ...) -> context manager of a GateLM."""
