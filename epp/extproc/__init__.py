"""Envoy external processing: the wire."""
