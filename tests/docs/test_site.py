"""The manual as a site: it builds without a warning, and every page is in its search."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import patient

ROOT = Path(__file__).parent.parent.parent
# Sphinx takes 20 seconds of one processor for all pages.
pytestmark = pytest.mark.timeout(patient(300))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", "-W", "--keep-going"]
    command += ["-c", str(ROOT / "docs"), "-d", str(out / "doctrees"), str(ROOT), str(out / "html")]
    build = subprocess.run(command, capture_output=True, text=True, check=False)
    assert build.returncode == 0, build.stderr
    return out / "html"


def test_every_page_of_the_manual_can_be_searched(site: Path) -> None:
    index = (site / "searchindex.js").read_text()
    found = json.loads(index[index.index("{") : index.rindex("}") + 1])["docnames"]
    pages = [page.relative_to(ROOT).with_suffix("") for page in ROOT.glob("docs/**/*.md")]
    assert len(pages) > 10
    assert {str(page) for page in pages} <= set(found)


def test_every_page_of_the_manual_is_in_its_contents(site: Path) -> None:
    first_page = (site / "docs" / "README.html").read_text()
    contents = set(
        re.findall(r'"toctree-l1"><a class="reference internal" href="([^"]+)"', first_page)
    )
    for folder in ("guide", "howto", "topics"):
        pages = {f"{folder}/{page.stem}.html" for page in ROOT.glob(f"docs/{folder}/*.md")}
        assert pages <= contents


def test_the_site_begins_with_the_manual(site: Path) -> None:
    assert "url=docs/README.html" in (site / "index.html").read_text()


def test_the_reference_of_python_is_made_from_the_docstrings(site: Path) -> None:
    page = (site / "docs/reference/python/testing.html").read_text()
    assert 'id="snorky.testing.call"' in page
    assert "Call a command as" in page
