"""Declare where endpoints come from."""
