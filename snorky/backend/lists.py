"""Live lists of any web application: what they need around a request, headers included.

::

    lists = Lists(DataSync(snorky))

    with lists.read(request.headers) as reading:                # a page fetches rows
        user = check_permission(request)
        reading.subscribe([{"dealer": "Tasks", "query": user.id}])
        rows = query(user)
    response.headers.update(reading.headers)

    with lists.write(request.headers) as writing:               # somebody changes them
        with database.transaction():
            writing.insert("Task", insert(task))
    response.headers.update(writing.headers)

The order is what makes it right, and these two blocks keep it: the place in the log, permission,
token, query, and the turn of those who were writing; commit, then publication. The query must run
in a snapshot of its own, taken after ``subscribe``. For asyncio: `snorky.backend.aio.Lists`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from snorky.backend.datasync import DataSync, Items
from snorky.backend.entries import Change, new_key
from snorky.backend.exchange import SnorkyError, snorky_log
from snorky.backend.headers import (
    ASKING,
    exposed_headers,
    header,
    reading_headers,
    wants_subscription,
    writing_headers,
)


class Response:
    """What has to be added to the response: complete when the block has ended."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}


class Writing(Response):
    """The changes of one transaction. What they are given is encoded at once."""

    def __init__(self, dumps: Callable[[Any], str | bytes]) -> None:
        super().__init__()
        self.changes: list[Change] = []
        self._dumps = dumps

    def insert(self, model: str, row: Any) -> None:
        self.publish({"type": "insert", "model": model, "data": row})

    def update(self, model: str, new: Any, old: Any) -> None:
        """``old`` is the row before: it decides who must no longer see it."""
        self.publish({"type": "update", "model": model, "newData": new, "oldData": old})

    def delete(self, model: str, row: Any) -> None:
        self.publish({"type": "delete", "model": model, "data": row})

    def reset(self, model: str) -> None:
        """Something changed that cannot be told row by row: pages fetch anew."""
        self.publish({"type": "reset", "model": model})

    def publish(self, delta: Mapping[str, Any]) -> None:
        self.changes.append(Change.of(delta, self._dumps))


class Reading(Response):
    """A page's request for rows. ``token`` is None where it asked for none, or Snorky is away."""

    def __init__(self, datasync: DataSync, asked: bool, place: str | None) -> None:
        super().__init__()
        self.asked = asked
        self.token: str | None = None
        self._datasync = datasync
        self._place = place

    def subscribe(self, items: Items, subject: Any = None) -> None:
        """Let the page hear of these items, if it asked to. After the check, before the query."""
        if self.asked:
            try:
                self.token = self._datasync.authorize(items, subject, self._place)
            except (RuntimeError, SnorkyError) as error:
                snorky_log.error("A list is answered without subscription: %s", error)


class CrossOrigin:
    """Which pages of other origins may use the lists."""

    def __init__(self, allowed_origins: Sequence[str] = ()) -> None:
        self._allowed = list(allowed_origins)

    def preflight(self, headers: Mapping[str, str]) -> dict[str, str]:
        """The headers of the answer to an OPTIONS request that a browser sends before others.

        All methods, and the headers that the page names; nothing for an origin that is not allowed.
        """
        allowed = self._allow(headers)
        if "Access-Control-Allow-Origin" in allowed:
            wished = header(headers, "Access-Control-Request-Headers") or ASKING
            method = header(headers, "Access-Control-Request-Method") or "GET"
            allowed["Access-Control-Allow-Headers"] = wished
            allowed["Access-Control-Allow-Methods"] = method
        return allowed

    def complete(self, response: dict[str, str], headers: Mapping[str, str]) -> dict[str, str]:
        """Let the scripts of an allowed origin read the response, and these headers of it."""
        allowed = self._allow(headers)
        if header(headers, "Origin") and (exposed := exposed_headers(response)):
            # Whoever else allows the origin, the framework's own middleware perhaps.
            allowed["Access-Control-Expose-Headers"] = exposed
        if "Vary" in allowed and "Vary" in response:
            allowed["Vary"] = f"{response['Vary']}, {allowed['Vary']}"
        return response | allowed

    def _allow(self, headers: Mapping[str, str]) -> dict[str, str]:
        origin = header(headers, "Origin")
        if not self._allowed:
            return {}
        if origin in self._allowed:
            credentials = {"Access-Control-Allow-Credentials": "true"}
            return {"Access-Control-Allow-Origin": origin, "Vary": "Origin", **credentials}
        if origin and "*" in self._allowed:
            return {"Access-Control-Allow-Origin": "*", "Vary": "Origin"}
        return {"Vary": "Origin"}


class Lists(CrossOrigin):
    """For blocking web applications, of any number of threads.

    ``allowed_origins``: pages from elsewhere that may use them, ``["https://app.example.com"]``,
    with their cookies; ``["*"]`` is everybody, without. Leave it empty where the framework's own
    middleware does that; it must let `X-Snorky` in.
    """

    def __init__(self, datasync: DataSync, allowed_origins: Sequence[str] = ()) -> None:
        super().__init__(allowed_origins)
        self.datasync = datasync

    @contextmanager
    def read(self, headers: Mapping[str, str]) -> Iterator[Reading]:
        """Around the permission check and the query of a request with these headers."""
        asked = wants_subscription(headers)
        reading = Reading(self.datasync, asked, self._place() if asked else None)
        yield reading
        if reading.token is not None and not self._is_told_all():
            reading.token = None
        response = reading_headers(asked=asked, token=reading.token)
        reading.headers = self.complete(response, headers)

    @contextmanager
    def write(self, headers: Mapping[str, str]) -> Iterator[Writing]:
        """Around the transaction of a request with these headers, its commit included.

        What the block has noted is published when it ends, and not where it raises. A failure of
        Snorky is logged, and its pages are told to fetch anew when it is back.
        """
        writing = Writing(self.datasync.snorky.json.dumps)
        keys: list[str] = []
        with self.datasync.turn.taken() as in_turn:
            yield writing
            key = new_key()
            if writing.changes and self._publish(writing.changes, key, in_turn):
                keys = [key]
        writing.headers = self.complete(writing_headers(keys), headers)

    def _place(self) -> str | None:
        try:
            return self.datasync.head()
        except (RuntimeError, SnorkyError):
            return None  # what is wrong, authorising tells

    def _is_told_all(self) -> bool:
        if self.datasync.turn.passed() and not self.datasync.lost:
            return True
        snorky_log.error("A list is answered without token: changes are not published yet")
        return False

    def _publish(self, changes: list[Change], key: str, in_turn: bool) -> bool:
        try:
            self.datasync.publish_in_turn(changes, key, in_turn)
        except (RuntimeError, SnorkyError) as error:
            snorky_log.error("%d deltas not published: %s", len(changes), error)
            return False
        return True
