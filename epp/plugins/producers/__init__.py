"""Make what other plugins decide by."""
