"""The lab: real processes on loopback for the demo, the system tests and the benchmarks."""
