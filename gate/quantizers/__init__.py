"""Ways to quantize a merged checkpoint: quantize(model, out, *, ...) -> WeightReport."""
