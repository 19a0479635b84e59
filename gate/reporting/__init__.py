"""What people see of a record: views, tables, figures, derivations; nothing is judged here."""
