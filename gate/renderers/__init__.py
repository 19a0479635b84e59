"""Views of a record: render(record) -> str, or bytes of a picture."""
