"""Which endpoint: a profile handler runs profiles, a profile filters, scores and picks."""
