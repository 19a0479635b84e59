"""Paired intervals, tests and power: arrays in, numbers out; every confidence is one-sided."""
