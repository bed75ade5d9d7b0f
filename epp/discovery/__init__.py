"""Where endpoints come from when Kubernetes does not say."""
