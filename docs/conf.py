"""The manual as a site: ``make docs`` builds it into ``build/docs``.

The pages are written to be read as they are, too. So the source is the whole tree, with the pages
that the demos and the client have of their own, and the contents are not listed a second time here:
what docs/README.md links, under its bold headings, is the site's table of contents.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from sphinx.application import Sphinx

from snorky import version

# Parts of Snorky's connector are views of REST framework: they are imported in a project alone.
settings.configure(
    INSTALLED_APPS=["rest_framework"], SNORKY_BACKEND_URL="http://localhost", SNORKY_API_KEY="-"
)
django.setup()

project = "Snorky"
author = "the Snorky contributors"
project_copyright = "the Snorky contributors"
release = version

extensions = ["myst_parser", "sphinx_copybutton", "sphinx.ext.autodoc"]
root_doc = "docs/README"
include_patterns = [
    "*.md",
    "docs/**.md",
    "client/README.md",
    "demos/**.md",
    "benchmarks/README.md",
    "benchmarks/results/*.md",
]
exclude_patterns = [".*", "build", "dist", "**/node_modules", "benchmarks/.build", "docs/examples"]
myst_heading_anchors = 4
suppress_warnings = [
    "toc.not_included",  # what pages link is found by the links
    "misc.highlighting_failure",  # a console's line that goes on in the next
]

# The reference of Python, from the docstrings. A `name` in them is a link where it is one of ours.
default_role = "py:obj"
autodoc_default_options = {"show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True

html_theme = "furo"
html_title = "Snorky"
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True

_HEADING = re.compile(r"\*\*(?P<caption>[^*]+)\*\*")
_LINK = re.compile(r"- \[[^]]+\]\((?P<page>[\w/.-]+)\.md\)")
_START = """<!DOCTYPE html>
<meta http-equiv="refresh" content="0; url=docs/README.html">
<title>Snorky</title>
"""


def _add_table_of_contents(app: Sphinx, page: str, source: list[str]) -> None:
    if page != root_doc:
        return
    trees: list[str] = []
    for line in source[0].splitlines():
        if heading := _HEADING.match(line):
            trees.append(f"```{{toctree}}\n:hidden:\n:caption: {heading['caption']}\n")
        elif link := _LINK.match(line):
            trees[-1] += "\n/" + posixpath.normpath(f"docs/{link['page']}")
    source[0] += "".join(f"\n{tree}\n```\n" for tree in trees)


def _lead_to_the_first_page(app: Sphinx, error: Exception | None) -> None:
    Path(app.outdir, "index.html").write_text(_START)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("source-read", _add_table_of_contents)
    app.connect("build-finished", _lead_to_the_first_page)
    return {"parallel_read_safe": True}
