"""The vocabulary: values and extension points. No I/O; imports nothing else of ours."""
