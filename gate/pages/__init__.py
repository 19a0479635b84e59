"""Pages that load nothing: templates, style and script put together into one file."""
