"""Ways to merge adapters into a base model: merge(base, adapters, out, *, ...) -> WeightReport."""
