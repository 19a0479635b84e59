"""A gate under pytest: what is collected, the one run behind it, what each test says."""
