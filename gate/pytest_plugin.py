"""pytest collects gate.yaml: one test a check; asked for by name, never by itself."""
