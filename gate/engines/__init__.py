"""What backends open: token ids in, log-probabilities and text out, one file a library."""
