"""Decide which profiles run and which one counts."""
