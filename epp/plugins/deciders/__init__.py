"""Say whether another endpoint shall do a part of a request."""
