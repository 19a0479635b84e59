"""The first steps: what a machine has, what a candidate is, and a first gate.yaml for both."""
