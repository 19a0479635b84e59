"""Proof on the weights alone, by arithmetic that shares nothing with what made them."""
