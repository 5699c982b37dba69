"""The one logger of the server: ``snorky``."""

from __future__ import annotations

import logging

snorky_log = logging.getLogger("snorky")


def printable(value: object, length: int = 500) -> str:
    """``value`` as one line for the log, cut to ``length`` characters.

    What clients send may hold line breaks (forged log lines), commands for the terminal, or lone
    surrogates, which no log file can take: all of it is escaped.
    """
    try:
        text = str(value)
    except RecursionError:
        text = f"<{type(value).__name__}, nested too deeply>"
    if len(text) > length:
        text = text[: length - 3] + "..."
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )
