"""The tables of docs/reference that are made from the code, and how all of them show values.

``python -m tests.docs.captures`` rewrites them; a test says when it has to be done.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import partial
from pathlib import Path

import click

from snorky import limits
from snorky.cli import main as cli
from snorky.metrics import GAUGES, HELP, LABELLED, LOG_HELP, Metrics

REFERENCE = Path(__file__).parent.parent.parent / "docs" / "reference"
_TABLE = re.compile(
    r"(?P<head><!-- table: (?P<name>\w+) -->\n\|.*\n\|[-|]+\n)(?P<rows>(?:\|.*\n)*)"
)


def shown(name: str, value: float) -> tuple[str, str]:
    """Unit and value of a limit, as tables have them. The unit is in the name, or in the type."""
    if "bytes" in name.lower() or name == "response_limit":
        for size, unit in ((limits.MIB, "MiB"), (limits.KIB, "KiB")):
            if value >= size and value % size == 0:
                return "bytes", f"{value // size:,} {unit}"
        return "bytes", f"{value:,} bytes"
    if name.lower().endswith("_length"):
        return "characters", f"{value:,}"
    seconds = ("timeout", "interval", "delay", "seconds", "leeway", "grace")
    seconds += ("lease", "ttl", "recheck", "max_lag")
    if any(word in name.lower() for word in seconds):
        return "seconds", f"{value:g} s"
    return "count", f"{value:,}"


def limits_table() -> Iterator[str]:
    texts = _docstrings_of_fields(limits.Limits)
    for field in fields(limits.Limits):
        unit, value = shown(field.name, getattr(limits.DEFAULT_LIMITS, field.name))
        yield f"| `{field.name}` | {unit} | {value} | {texts[field.name]} |"


def metrics_table() -> Iterator[str]:
    for field in fields(Metrics):
        if field.name in LABELLED:
            continue
        kind, ending = ("gauge", "") if field.name in GAUGES else ("counter", "_total")
        yield f"| `snorky_{field.name}{ending}` | {kind} | {HELP[field.name]} |"
    yield f"| `snorky_resumes_total` | counter | {HELP['resumes']} |"
    for name, text in LOG_HELP.items():
        yield f"| `snorky_log_{name}` | gauge | {text} |"


def commands_of(group: click.Group, name: str = "snorky") -> Iterator[tuple[str, click.Command]]:
    for each, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from commands_of(command, f"{name} {each}")
        else:
            yield f"{name} {each}", command


def options_table(command: click.Command) -> Iterator[str]:
    for each in command.params:
        if not isinstance(each, click.Option):
            continue
        name = f"`{', '.join(each.opts)}{'' if each.is_flag else f' {_metavar(each)}'}`"
        text = " ".join((each.help or "").split()).replace("|", "\\|")
        if each.envvar:
            text += f" From the environment: `{each.envvar}`."
        default = each.default if each.show_default and not each.is_flag else None
        yield f"| {name} | {'' if default is None else f'`{default}`'} | {text} |"


def _metavar(option: click.Option) -> str:
    if option.metavar:
        return option.metavar
    if isinstance(option.type, click.Choice):
        return "\\|".join(option.type.choices)
    return {"path": "PATH", "integer range": "N", "float range": "SECONDS"}.get(
        option.type.name, option.type.name.upper()
    )


COMMANDS = dict(commands_of(cli))

TABLES: dict[str, Callable[[], Iterator[str]]] = {
    "limits": limits_table,
    "metrics": metrics_table,
    **{
        name.removeprefix("snorky ").replace(" ", "_"): partial(options_table, command)
        for name, command in COMMANDS.items()
    },
}
PAGES = ["command-line", "limits", "metrics"]


def rewritten(page: str) -> str:
    """The page of that name, with the tables of today."""

    def table(match: re.Match[str]) -> str:
        return match["head"] + "".join(f"{row}\n" for row in TABLES[match["name"]]())

    return _TABLE.sub(table, page_of(page).read_text())


def page_of(name: str) -> Path:
    return REFERENCE / f"{name}.md"


def _docstrings_of_fields(cls: type) -> dict[str, str]:
    """The string below each field, as Markdown in one line."""
    (tree,) = ast.parse(inspect.getsource(cls)).body
    assert isinstance(tree, ast.ClassDef)
    texts: dict[str, str] = {}
    for node, following in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            assert isinstance(following, ast.Expr), f"{node.target.id} has no docstring"
            assert isinstance(following.value, ast.Constant)
            text = " ".join(str(following.value.value).split())
            texts[node.target.id] = text.replace("``", "`").replace("|", "\\|")
    return texts


def main() -> None:
    for page in PAGES:
        page_of(page).write_text(rewritten(page))
