"""From a judged record to a release: who may promote it, what travels with it, how it is verified."""
