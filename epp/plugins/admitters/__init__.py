"""Refuse requests once their candidates are known."""
