"""What draws requests to an endpoint: where it is, and who was there before."""
