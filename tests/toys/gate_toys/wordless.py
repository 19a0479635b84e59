"""A comparison without its verb."""
