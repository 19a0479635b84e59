"""How a candidate's next-token distributions differ from a reference's, over texts."""
