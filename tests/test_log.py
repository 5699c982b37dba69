"""What of a client's text may stand in a log line."""

import logging
from typing import Any

import pytest

from snorky.client import Client, log_about
from snorky.log import (
    LINES_PER_ADDRESS,
    LINES_PER_SECOND,
    MAX_ADDRESSES,
    Allowance,
    printable,
    snorky_log,
)
from tests.conftest import ExpectLog


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


@pytest.mark.parametrize("character", ["\n", "\x1b", "\U000e0001", "\ud83d"])
def test_what_is_escaped_is_as_short_as_other_text(character: str) -> None:
    assert len(printable(character * 500)) == 500
    assert printable(character * 500).endswith("...")


def test_any_value_is_shown_as_its_str() -> None:
    assert printable({"a": [1]}) == "{'a': [1]}"
    assert printable(None) == "None"


def test_a_value_nested_deeper_than_the_stack_is_shown_by_its_type() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]

    assert printable(deep) == "<list, nested too deeply>"


# How much of it


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def comes_again(address: str) -> Client:
    client = Client()
    client.remote_address = address
    return client


def test_who_connects_again_and_again_does_not_fill_the_log(expect_log: ExpectLog) -> None:
    for _ in range(10):
        flooder = comes_again("203.0.113.7")
        for _ in range(100):
            log_about(flooder, "nonsense")
    assert expect_log.all("nonsense") == LINES_PER_ADDRESS
    assert expect_log.all("Too many lines about address 203.0.113.7") == 1
    assert expect_log.all("Further lines about client") == LINES_PER_ADDRESS // 100

    log_about(comes_again("203.0.113.8"), "an honest mistake")
    expect_log("an honest mistake")


def test_lines_come_back_with_time_and_those_left_out_are_counted(expect_log: ExpectLog) -> None:
    clock = Clock()
    allowance = Allowance(clock)
    assert sum(allowance.take("203.0.113.7") for _ in range(LINES_PER_ADDRESS + 41)) == (
        LINES_PER_ADDRESS
    )
    expect_log("Too many lines about address 203.0.113.7")
    clock.now += 2
    assert [allowance.take("203.0.113.7") for _ in range(3)] == [True, True, False]
    expect_log("41 lines about address 203.0.113.7 were left out")


def test_a_visitor_with_a_network_of_addresses_is_one_visitor(expect_log: ExpectLog) -> None:
    allowance = Allowance(Clock())
    taken = [allowance.take(f"2001:db8::{number:x}") for number in range(LINES_PER_ADDRESS + 1)]
    assert taken.count(True) == LINES_PER_ADDRESS
    expect_log("Too many lines about address 2001:db8::/64")
    assert allowance.take("2001:db8:0:1::1")


def test_all_addresses_together_have_a_bound(expect_log: ExpectLog) -> None:
    allowance = Allowance(Clock())
    taken = [
        allowance.take(f"10.{number >> 8}.{number & 255}.1") for number in range(MAX_ADDRESSES)
    ]
    assert taken.count(True) == 10 * LINES_PER_SECOND
    expect_log("Too many lines about all addresses")


def test_addresses_that_are_counted_are_bounded() -> None:
    allowance = Allowance(Clock())
    for number in range(2 * MAX_ADDRESSES):
        snorky_log.disabled = True
        try:
            allowance.take(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
        finally:
            snorky_log.disabled = False
    assert len(allowance._addresses) == MAX_ADDRESSES


def test_who_has_no_address_is_not_counted() -> None:
    allowance = Allowance(Clock())
    assert all(allowance.take(None) for _ in range(2 * LINES_PER_ADDRESS))
