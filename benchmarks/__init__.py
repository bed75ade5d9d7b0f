"""What the picker costs behind a real Envoy: ``python -m benchmarks``."""
