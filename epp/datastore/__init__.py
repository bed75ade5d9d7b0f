"""The pool as we know it now."""
