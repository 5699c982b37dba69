"""The one logger of the server: ``snorky``."""

from __future__ import annotations

import logging

snorky_log = logging.getLogger("snorky")

_CONTROL_CHARACTERS = {code: f"\\x{code:02x}" for code in (*range(0x20), 0x7F)}


def printable(value: object, length: int = 500) -> str:
    """``value`` as one line of at most ``length`` characters, for a log line.

    What clients send may hold line breaks (forged log lines) and may be long.
    """
    text = str(value)
    if len(text) > length:
        text = text[: length - 3] + "..."
    return text if text.isprintable() else text.translate(_CONTROL_CHARACTERS)
