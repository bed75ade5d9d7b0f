"""Remove endpoints once for all profiles."""
