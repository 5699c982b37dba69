"""The page on installing Snorky names what pip brings, and every extra."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "guide" / "installation.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def packages(requirements: list[str]) -> dict[str, str]:
    """Name -> the oldest version that will do."""
    return {
        found["name"]: found["version"]
        for each in requirements
        if (found := re.match(r"(?P<name>[\w-]+)(\[[\w,]+\])?>=(?P<version>[\d.]+)", each))
    }


def test_every_extra_is_on_the_page_with_its_versions() -> None:
    rows = re.findall(r'(?m)^\| `pip install "snorky\[(\w+)\]"` \| (.*?) \|', PAGE)
    assert {name for name, _ in rows} == set(PROJECT["optional-dependencies"])
    for name, brings in rows:
        for version in packages(PROJECT["optional-dependencies"][name]).values():
            assert f"{version} or newer" in brings, name


def test_what_pip_brings_along_is_on_the_page() -> None:
    needed = re.search(r"\*\*Python (.*?) or newer\*\*, and (.*?)\n\n", PAGE, re.DOTALL)
    assert needed is not None
    assert f">={needed[1]}" == PROJECT["requires-python"]
    missing = {
        name
        for name in packages(PROJECT["dependencies"])
        if name.split("-")[0] not in needed[2].lower()
    }
    assert missing == set()
