"""Certificates and what TLS the ports speak."""
