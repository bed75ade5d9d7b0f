"""Read request bodies."""
