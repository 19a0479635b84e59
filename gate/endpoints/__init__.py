"""A server behind a URL: what it is asked, what it answers, and whether it is the right one."""
