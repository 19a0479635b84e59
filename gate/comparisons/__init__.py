"""Ways to compare two variants on the same documents: compare(reference, candidate, *, ...) -> Estimate."""
