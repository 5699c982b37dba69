"""The one logger of the server, ``snorky``, and how much of what strangers cause goes into it."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable
from time import monotonic

snorky_log = logging.getLogger("snorky")
"""INFO: commands that refuse; WARNING: what clients do wrong; ERROR: what we do wrong."""

LINES_PER_ADDRESS = 300
"""Lines that one address may cause at once, over all its connections."""

LINES_PER_ADDRESS_AND_SECOND = 1.0
"""What it may cause in the long run."""

LINES_PER_SECOND = 200.0
"""What all addresses together may cause in the long run, ten seconds' worth of it at once."""

MAX_ADDRESSES = 10_000
"""Addresses whose lines are counted; past it the one that was silent for longest is forgotten."""


def printable(value: object, length: int = 500) -> str:
    """``value`` as one line for the log, of at most ``length`` characters.

    What clients send may hold line breaks (forged log lines), commands for the terminal, or lone
    surrogates, which no log file can take: all of it is escaped.
    """
    try:
        text = str(value)
    except RecursionError:
        text = f"<{type(value).__name__}, nested too deeply>"
    # Nothing gets shorter by being escaped: what is behind the cut need not be.
    shown = text[: length + 1]
    if not shown.isprintable():
        shown = "".join(
            character if character.isprintable() else character.encode("unicode_escape").decode()
            for character in shown
        )
    return shown if len(shown) <= length else shown[: length - 3] + "..."


class Allowance:
    """How many lines strangers may still cause: each address on its own, and all together.

    Who is out of them is written about once, and again when there is room: then with the number
    of lines that were left out. Addresses of one IPv6 network of a visitor (/64) count as one.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._addresses: dict[str, _Bucket] = {}
        """The one that was heard of last is last."""
        self.clear()

    def clear(self) -> None:
        """Forget what was caused so far."""
        self._all = _Bucket(10 * LINES_PER_SECOND, LINES_PER_SECOND, self._clock())
        self._addresses.clear()

    def take(self, address: str | None) -> bool:
        """Whether a line about ``address`` may be written now. What is no IP address always may."""
        network = _network_of(address)
        if network is None:
            return True
        now = self._clock()
        bucket = self._addresses.pop(network, None)
        if bucket is None:
            bucket = _Bucket(LINES_PER_ADDRESS, LINES_PER_ADDRESS_AND_SECOND, now)
            if len(self._addresses) >= MAX_ADDRESSES:
                del self._addresses[next(iter(self._addresses))]
        self._addresses[network] = bucket
        return bucket.take(now, f"address {network}") and self._all.take(now, "all addresses")


class _Bucket:
    """Lines that may be written at once, and come back with time."""

    __slots__ = ("_at", "_left", "_left_out", "_most", "_per_second", "_said")

    def __init__(self, most: float, per_second: float, now: float) -> None:
        self._most = self._left = most
        self._per_second = per_second
        self._at = now
        self._left_out = 0
        self._said = False

    def take(self, now: float, whose: str) -> bool:
        self._left = min(self._most, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            if not self._said:
                self._said = True
                snorky_log.warning("Too many lines about %s: most of them are left out", whose)
            self._left_out += 1
            return False
        self._said = self._said and self._left < self._most / 2
        self._left -= 1
        if self._left_out:
            snorky_log.warning("%d lines about %s were left out", self._left_out, whose)
            self._left_out = 0
        return True


def _network_of(address: str | None) -> str | None:
    try:
        ip = ipaddress.ip_address(address or "")
    except ValueError:
        return None
    if ip.version == 6 and ip.ipv4_mapped is None:
        return str(ipaddress.ip_network((int(ip) >> 64 << 64, 64)))
    return str(ip)


allowance = Allowance()
"""What strangers may still cause in the log of this process."""
