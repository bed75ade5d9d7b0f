"""Starts real parts on loopback for the demo, the system tests and the benchmarks."""
