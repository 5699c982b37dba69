"""What matching.py matches: filters of many kinds, rows for them, and the same in PostgreSQL.

A mix makes the filter with a number, of ``count``, and rows that each match about ten of them,
however many there are: so its cost may grow only with the index. All filters of a mix differ.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

FilterOf = Callable[[int, int], Any]
RowOf = Callable[[Random, int], dict[str, Any]]
HITS = 10
STATES = ("new", "open", "waiting", "blocked", "done")


@dataclass(frozen=True)
class Percolation:
    """A mix as a table of PostgreSQL: a row for each filter, found by a query of the change."""

    columns: str
    index: str
    query: str
    filter_row: Callable[[int, int], Sequence[Any]]
    parameters: Callable[[dict[str, Any]], Sequence[Any]]


@dataclass(frozen=True)
class Mix:
    title: str
    filter_of: FilterOf
    row_of: RowOf
    percolation: Percolation | None = None


def wide(**fields: Any) -> dict[str, Any]:
    """A row as applications have them: with fields that no filter asks for."""
    other = {f"other_{number}": f"value {number}" for number in range(10)}
    return {"id": 1, "title": "A row", **other, **fields}


def equal(number: int, count: int) -> Any:
    return ["and", ["==", "board", number // HITS], ["!=", "author", number % HITS + 100]]


def interval(number: int, count: int) -> Any:
    # As wide as ten lie apart.
    low = number * 10
    return ["and", [">=", "price", low], ["<", "price", low + 10 * HITS]]


def tenant(number: int, count: int) -> Any:
    """A hundred filters for each tenant, each with something more of any kind."""
    team, variant = divmod(number, 100)
    more = [
        ["<", "votes", variant],
        [">=", "due", f"2026-{variant % 12 + 1:02}-01T0{variant // 60}:{variant % 60:02}:00Z"],
        ["!=", "state", f"s{variant}"],
        ["startswith", "title", f"T{variant:02}"],
        ["in", "state", [*STATES[: variant % 5], f"s{variant}"]],
        ["not", ["==", "author", variant]],
        ["isnull", f"field_{variant}", False],
        ["or", ["==", "author", variant], ["==", "reviewer", variant]],
        ["==", "author", variant],
        [">", "votes", 1000 + variant],
    ]
    return ["and", ["==", "team", team], more[variant % len(more)]]


def one_of(number: int, count: int) -> Any:
    return ["in", "owner", [(number + step * 7919) % count for step in range(HITS)]]


def prefix(number: int, count: int) -> Any:
    return ["startswith", "path", f"/projects/{number // 2}/files{'/' * (number % 2)}"]


def either(number: int, count: int) -> Any:
    return [
        "or",
        ["==", "owner", number // 5],
        ["and", ["==", "team", number // 5], ["<", "n", number]],
    ]


def bound(number: int, count: int) -> Any:
    return [">", "load", number / count]


def unselective(number: int, count: int) -> Any:
    """A thousand match each row, and there is nothing else to tell them apart."""
    return ["and", ["==", "region", number % max(1, count // 1000)], ["!=", "author", number]]


SIX = (equal, interval, tenant, one_of, prefix, either)


def of_six(number: int, count: int) -> Any:
    return SIX[number % 6](number, count)


def six_row(random: Random, count: int) -> dict[str, Any]:
    number = random.randrange(count)
    return wide(
        board=number // HITS,
        author=random.randrange(100),
        price=random.random() * 10 * count,
        team=random.randrange(max(1, count // 100)),
        votes=random.randrange(100),
        due="2026-06-15T12:00:00+02:00",
        state=random.choice(STATES),
        owner=random.randrange(count),
        path=f"/projects/{number // 2}/files/a.txt",
        n=number,
    )


MIXES: dict[str, Mix] = {
    "equal": Mix(
        "`==` and `!=`",
        equal,
        lambda random, count: wide(board=random.randrange(max(1, count // HITS)), author=1),
        Percolation(
            "id int, board int, not_author int",
            "(board)",
            "SELECT id FROM filters WHERE board = %s AND not_author <> %s",
            lambda number, count: (number, number // HITS, number % HITS + 100),
            lambda row: (row["board"], row["author"]),
        ),
    ),
    "interval": Mix(
        "`>=` and `<`",
        interval,
        lambda random, count: wide(price=random.random() * 10 * count),
        Percolation(
            "id int, price int8range",
            "USING gist (price)",
            "SELECT id FROM filters WHERE price @> %s::int8",
            lambda number, count: (number, f"[{number * 10},{number * 10 + 10 * HITS})"),
            lambda row: (int(row["price"]),),
        ),
    ),
    "tenant": Mix(
        "`==` a tenant, and one of ten others",
        tenant,
        lambda random, count: wide(
            team=random.randrange(max(1, count // 100)),
            votes=random.randrange(100),
            due="2026-06-15T12:00:00+02:00",
            state=random.choice(STATES),
            author=random.randrange(100),
        ),
    ),
    "in": Mix(
        "`in`, ten values", one_of, lambda random, count: wide(owner=random.randrange(count))
    ),
    "prefix": Mix(
        "`startswith`",
        prefix,
        lambda random, count: wide(path=f"/projects/{random.randrange(count) // 2}/files/a.txt"),
        Percolation(
            "id int, prefix text",
            '(prefix COLLATE "C")',
            'SELECT id FROM filters WHERE prefix COLLATE "C" IN '
            "(SELECT left(%s, n) FROM generate_series(1, 64) AS n)",
            lambda number, count: (number, prefix(number, count)[2]),
            lambda row: (row["path"],),
        ),
    ),
    "or": Mix(
        "`or` of `==` and of `and`",
        either,
        lambda random, count: wide(
            owner=random.randrange(count) // 5, team=random.randrange(count) // 5, n=0
        ),
    ),
    "bound": Mix(
        "`>` alone, high thresholds",
        bound,
        lambda random, count: wide(load=random.random() * 2 * HITS / count),
    ),
    "mixed": Mix("six of these, in turn", of_six, six_row),
    "unselective": Mix(
        "`==` that a thousand share",
        unselective,
        lambda random, count: wide(region=random.randrange(max(1, count // 1000)), author=-1),
    ),
}
