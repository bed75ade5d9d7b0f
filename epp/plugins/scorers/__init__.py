"""Say how well each endpoint suits a request."""
