"""Beyond one machine: what is asked of other machines, and documents shared out among them."""
