"""Ways to compare two variants: compare(reference, candidate, *, ...) -> Estimate."""
