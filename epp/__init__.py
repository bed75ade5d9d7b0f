"""An Envoy ext_proc endpoint picker for inference pools."""

import os

__version__ = "0.1.0"

COMMIT_SHA = os.environ.get("COMMIT_SHA") or "unknown"
"""What an image was built from; its build sets the variable."""

BUILD_REF = os.environ.get("BUILD_REF") or __version__
"""The branch or tag of an image, else the version."""
