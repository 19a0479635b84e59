"""From scores to verdicts: pairs, estimates held against bounds, doubts, sentences."""
