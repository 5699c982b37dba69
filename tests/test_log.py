"""What of a client's text may stand in a log line."""

import logging
from typing import Any

import pytest

from snorky.log import printable, snorky_log


def test_the_logger_has_the_name_of_the_project() -> None:
    assert snorky_log is logging.getLogger("snorky")


@pytest.mark.parametrize("text", ["news", "größer 😀", "{'a': 1}", "c:\\temp"])
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("one\ntwo\r\n", r"one\ntwo\r\n"),
        ("\x1b[31mred\x9b0m", r"\x1b[31mred\x9b0m"),
        ("\x00\x7f\x85\u2028", r"\x00\x7f\x85\u2028"),
        ("\u202eright to left", r"\u202eright to left"),
        ("half an emoji \ud83d", r"half an emoji \ud83d"),
    ],
)
def test_what_could_forge_a_line_or_drive_a_terminal_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_what_no_stream_could_write_is_escaped() -> None:
    assert printable("".join(map(chr, range(0xD800, 0xE000)))).isprintable()


def test_long_text_is_cut() -> None:
    assert printable("x" * 500) == "x" * 500
    assert printable("x" * 501) == "x" * 497 + "..."
    assert printable("x" * 20, 10) == "xxxxxxx..."


def test_any_value_is_shown_as_its_str() -> None:
    assert printable({"a": [1]}) == "{'a': [1]}"
    assert printable(None) == "None"


def test_a_value_nested_deeper_than_the_stack_is_shown_by_its_type() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]

    assert printable(deep) == "<list, nested too deeply>"
