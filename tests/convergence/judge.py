"""Whether what lists showed is what the promise allows, at every step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tests.convergence.history import History, place
from tests.convergence.lists import ListView, Shown


class Revoked(NamedTuple):
    """Who, since which position, and from when until when nobody let him in."""

    subject: str
    since: str
    began: float
    ended: float


def problems(
    history: History, lists: Iterable[ListView], revoked: Iterable[Revoked]
) -> Iterator[str]:
    """What is wrong with the log, and the first thing that is wrong with each list."""
    yield from history.problems
    for each in lists:
        yield from _problem(history, each, [one for one in revoked if one.subject == each.subject])


def _problem(history: History, each: ListView, revoked: list[Revoked]) -> Iterator[str]:
    newest = 0
    for shown in each.log:
        if any(_is_after(one, shown) for one in revoked):
            yield f"{each.subject} was shown what was revoked"
            return
        found = _transaction(history, each, shown)
        if found is None:
            yield (f"{each} showed at {shown.position} ({shown.why}) what was never there")
            return
        if found < newest and not each.refetches:
            yield f"{each} went back from {newest} to {found}"
            return
        newest = max(newest, found)


def _is_after(revoked: Revoked, shown: Shown) -> bool:
    if shown.position is None or not revoked.began < shown.time < revoked.ended:
        return False
    (epoch, sequence), (since_epoch, since) = place(shown.position), place(revoked.since)
    return epoch == since_epoch and since < sequence


def _transaction(history: History, each: ListView, shown: Shown) -> int | None:
    """The transaction that a list shows; None where there is no such one."""
    possible: Iterable[int] = (shown.transaction,)
    if shown.position is not None:
        possible = history.transactions_at(shown.position)
    for transaction in possible:
        if shown.rows == history.view(transaction, each.model, each.query):
            return transaction
    return None
