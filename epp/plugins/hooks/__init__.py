"""Act on headers, on decisions and on answers."""
