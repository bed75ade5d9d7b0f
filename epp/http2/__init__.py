"""A gRPC server side of our own: HTTP/2 frames, header compression, flow control.

Knows nothing of ext_proc.
"""
