"""`make bench-warm`: warming while the database serves others, with and without feedback."""
