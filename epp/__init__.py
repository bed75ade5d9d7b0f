"""An Envoy ext_proc endpoint picker for inference pools."""

import os

__version__ = "0.1.0"

COMMIT_SHA = os.environ.get("EPP_COMMIT") or "unknown"
"""What an image was built from; its build sets the variable."""

BUILD_REF = os.environ.get("EPP_BUILD_REF") or __version__
"""The branch or tag of an image, else the version."""
