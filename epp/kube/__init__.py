"""The Kubernetes API: who we are, how to ask, how to keep watching."""
