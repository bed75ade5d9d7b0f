"""Read headers, and follow answers."""
