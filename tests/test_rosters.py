"""Rosters: what one process says, another believes only as a whole."""

from __future__ import annotations

from typing import Any

import pytest

from snorky import rosters
from snorky.processes import Processes
from snorky.rosters import Rosters
from tests.lines import turns


class Heard:
    """A process that hears what another says, and itself says nothing."""

    def __init__(self) -> None:
        self.rosters = Rosters("chat", Processes("chat", None))
        self.changes: list[Any] = []
        self.tea = self.rosters.open("tea", lambda *change: self.changes.append(change))

    def view(self) -> dict[str, Any]:
        part = self.tea.parts.get("other")
        return {} if part is None else part.values


@pytest.fixture
def speaker(monkeypatch: pytest.MonkeyPatch) -> Rosters:
    """Says one roster with each beat."""
    monkeypatch.setattr(rosters, "MAX_TOLD", 1)
    speaker = Rosters("chat", Processes("chat", None))
    for name in ("milk", "sugar"):
        speaker.set(speaker.open(name, lambda *change: None), "alice", 1)
    return speaker


def test_who_is_told_of_by_none_of_all_beats_has_gone(speaker: Rosters) -> None:
    heard = Heard()
    heard.tea.replace("other", 1, {"alice": 1})
    for _ in range(2):
        assert heard.view() == {"alice": 1}
        heard.rosters._told("other", speaker._tell())
    assert heard.view() == {}
    assert heard.changes[-1] == ("other", "alice", 1, None)


def test_where_a_beat_was_lost_nobody_is_taken_for_gone(speaker: Rosters) -> None:
    heard = Heard()
    heard.tea.replace("other", 1, {"alice": 1})
    speaker._tell()  # lost
    heard.rosters._told("other", speaker._tell())
    assert heard.view() == {"alice": 1}


def test_what_changed_since_the_beats_began_is_not_taken_for_gone(speaker: Rosters) -> None:
    heard = Heard()
    first = speaker._tell()
    heard.tea.replace("other", first["version"] + 1, {"alice": 1})
    for news in (first, speaker._tell()):
        heard.rosters._told("other", news)
    assert heard.view() == {"alice": 1}


def test_an_older_word_changes_nothing() -> None:
    heard = Heard()
    heard.tea.replace("other", 5, {"alice": 1})
    heard.tea.replace("other", 4, {})
    assert heard.tea.apply("other", 3, 4, {"alice": None})
    assert heard.view() == {"alice": 1}


async def test_who_cannot_be_asked_is_asked_at_a_later_beat() -> None:
    heard = Heard()
    message = {"from": "other", "after": 3, "version": 4, "changes": {"alice": 1}}
    heard.rosters.receive(heard.tea, message)
    await turns()
    assert heard.view() == {}
