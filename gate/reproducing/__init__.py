"""The artifacts of a record made again from base and adapters, against what was judged."""
