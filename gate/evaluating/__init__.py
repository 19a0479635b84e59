"""An lm-eval task loaded, asked in chunks, and read: documents, values, statistics."""
