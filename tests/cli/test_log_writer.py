"""A log that is written at once where it can be, and waits for nobody where it cannot."""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Iterator

import pytest

from snorky.cli import log_writer
from snorky.cli.log_writer import LogWriter
from tests.patience import patient


class Pipe:
    def __init__(self) -> None:
        self.out, self.into = os.pipe()
        self.handler = LogWriter(self.into)
        self.handler.setFormatter(logging.Formatter("%(message)s"))

    def log(self, text: str) -> None:
        self.handler.handle(logging.LogRecord("x", logging.INFO, "x", 1, text, None, None))

    def read(self) -> bytes:
        return os.read(self.out, 1 << 20)

    def read_until(self, end: bytes) -> bytes:
        data = b""
        deadline = time.monotonic() + patient(10)
        while not data.endswith(end):
            assert time.monotonic() < deadline
            data += self.read()
        return data


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    os.close(pipe.into)
    os.close(pipe.out)


def test_a_line_is_there_at_once_and_needs_no_thread(pipe: Pipe) -> None:
    threads = threading.active_count()
    pipe.log("größer \ud83d")
    assert pipe.read() == "größer \\ud83d\n".encode()
    assert threading.active_count() == threads


def test_lines_come_in_their_order_whatever_their_length(pipe: Pipe) -> None:
    texts = [f"{number} " + "x" * (10_000 if number % 3 else 1) for number in range(20)]
    for text in texts:
        pipe.log(text)
    expected = "".join(f"{text}\n" for text in texts).encode()
    assert pipe.read_until(texts[-1].encode() + b"\n") == expected


def test_who_does_not_read_loses_lines_and_is_told_how_many(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_writer, "SECONDS_FOR_THE_REST", 0.1)
    begun = time.monotonic()
    for number in range(30_000):
        pipe.log(f"line {number}")
    pipe.handler.flush()
    assert time.monotonic() - begun < patient(10)
    read = pipe.read_until(b"line %d\n" % last_waiting(pipe))
    pipe.log("the end")
    read += pipe.read_until(b"the end\n")
    told = sum(map(int, re.findall(rb"(\d+) lines of the log were lost", read)))
    assert told > 5_000
    assert told + len(re.findall(rb"^line \d+$", read, re.MULTILINE)) == 30_000


def last_waiting(pipe: Pipe) -> int:
    """The number of the last line that was not lost."""
    with pipe.handler._waiting.mutex:
        return int(pipe.handler._waiting.queue[-1].split()[-1])
