"""Views of a record: render(record) -> str."""
