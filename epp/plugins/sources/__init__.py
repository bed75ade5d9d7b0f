"""Declare what is read about endpoints."""
