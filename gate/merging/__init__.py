"""What a merge is made of: adapter files, places in a checkpoint, changes, and their writing."""
