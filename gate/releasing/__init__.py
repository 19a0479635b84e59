"""From a judged record to a release: who may promote it, what travels along, how it is verified."""
