"""An Envoy ext_proc endpoint picker for inference pools."""
