"""Choose among scored endpoints."""
