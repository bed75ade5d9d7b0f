"""Say how full the pool is."""
