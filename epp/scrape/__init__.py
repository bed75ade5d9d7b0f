"""Reads what every endpoint's model server says of itself, again and again."""
