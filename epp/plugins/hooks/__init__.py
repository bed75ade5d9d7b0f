"""Act on decisions and answers."""
