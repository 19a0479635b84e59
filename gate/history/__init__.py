"""Releases over time: what a folder of reports tells, and the page that shows it."""
