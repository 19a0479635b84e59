"""Where a release is published: one file a place, each with a function `publish`."""
