"""Declare what of it becomes part of an endpoint."""
