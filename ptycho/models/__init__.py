"""The networks and their training: the only package that imports TensorFlow."""

import os
from pathlib import Path

if not any(Path("/dev").glob("nvidia*")):  # TensorFlow's search for a GPU ends in lines that look like errors
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
