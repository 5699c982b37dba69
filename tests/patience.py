"""How long tests wait for what must happen.

``SNORKY_TEST_PATIENCE=5`` lets every deadline be five times as long: for machines that are slow or
busy. A deadline that passes is a failure; one that is never reached costs nothing.
"""

import os

PATIENCE = float(os.environ.get("SNORKY_TEST_PATIENCE", "1"))


def patient(seconds: float) -> float:
    """A deadline of so many seconds on a quiet machine."""
    return seconds * PATIENCE
