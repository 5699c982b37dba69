"""The optional C extension, and the README as PyPI shows it; all else is in pyproject.toml.

The extension is left out where it cannot be built: without a compiler the package is complete, and
slower.
"""

import re
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup

# One binary for every Python from 3.11 on. Free-threaded builds have no stable ABI.
stable_abi = not sysconfig.get_config_var("Py_GIL_DISABLED")
fanout = Extension("snorky._fanout", ["snorky/_fanout.c"], py_limited_api=stable_abi, optional=True)
supported = sys.platform != "win32" and sys.implementation.name == "cpython" and stable_abi

PROJECT = "https://github.com/snorky/snorky"
LINK = re.compile(r"(!?)(\[[^\]]*\]\()(?!https?:|#|mailto:)")


def absolute(link: re.Match[str]) -> str:
    """PyPI has the page alone: what lies beside it is shown from where the project lives."""
    image, opening = link.groups()
    return f"{image}{opening}{PROJECT}/{'raw' if image else 'blob'}/main/"


readme = (Path(__file__).parent / "README.md").read_text(encoding="utf-8")

setup(
    long_description=LINK.sub(absolute, readme),
    long_description_content_type="text/markdown",
    ext_modules=[fanout] if supported else [],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if supported else {},
)
