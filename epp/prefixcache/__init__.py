"""Which endpoint has seen which prompt blocks."""
