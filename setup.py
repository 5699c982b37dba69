"""The optional C extension; everything else about the package is in pyproject.toml.

Left out where it cannot be built: without a compiler the package is complete, and slower.
"""

import sys
import sysconfig

from setuptools import Extension, setup

# One binary for every Python from 3.11 on. Free-threaded builds have no stable ABI.
stable_abi = not sysconfig.get_config_var("Py_GIL_DISABLED")
fanout = Extension("snorky._fanout", ["snorky/_fanout.c"], py_limited_api=stable_abi, optional=True)
supported = sys.platform != "win32" and sys.implementation.name == "cpython" and stable_abi

setup(
    ext_modules=[fanout] if supported else [],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if supported else {},
)
