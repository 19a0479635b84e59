"""gate.yaml and the suite it names: read, checked, and told where they are wrong."""
