"""Where batches of stages run: execute(batches, *, ...)."""
