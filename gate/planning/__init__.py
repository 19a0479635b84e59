"""From a config to stages named by content, resolved checks, and what to expect of them."""
