"""An Envoy ext_proc endpoint picker for inference pools."""

__version__ = "0.1.0"
