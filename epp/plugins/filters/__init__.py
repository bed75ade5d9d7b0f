"""Remove endpoints that must not serve a request."""
