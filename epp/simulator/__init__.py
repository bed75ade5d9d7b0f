"""A fake vLLM model server: real wire formats, simulated time, no model."""
