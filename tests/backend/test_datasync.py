"""The commands of DataSync and the blocks around requests, blocking and with asyncio: one suite."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio

from snorky import ServiceRegistry
from snorky.backend import NoAnswerError, SnorkyBackend, SnorkyError, SnorkyHTTPTransport, aio
from snorky.backend.datasync import DataSync, Head
from snorky.backend.entries import MAX_ENTRY_BYTES
from snorky.backend.lists import Lists
from snorky.services.datasync import DataSyncBackend, DataSyncService
from snorky.services.datasync.dealers import BroadcastDealer
from snorky.testing import FakeClient, call
from tests.patience import patient

pytestmark = pytest.mark.usefixtures("each_fanout")

ITEMS = [{"dealer": "AllTasks", "query": None}]
ASKING = {"x-snorky": "Subscribe"}
INSERT = {"type": "insert", "model": "Task", "data": {"id": 1}}


class Awaited:
    """A blocking object under the asyncio one's interface."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.inner, name)
        if name in ("turn", "subscribe"):
            return Awaited(value) if name == "turn" else self._awaited(value)
        return self._awaited(value) if callable(value) else value

    def _awaited(self, function: Any) -> Any:
        async def call(*args: Any, **kwargs: Any) -> Any:
            # In a thread of its own, as the requests of a blocking application are.
            return await asyncio.to_thread(function, *args, **kwargs)

        return call

    @asynccontextmanager
    async def read(self, headers: Any) -> AsyncIterator[Any]:
        with self.inner.read(headers) as reading:
            yield Awaited(reading)

    @asynccontextmanager
    async def write(self, headers: Any) -> AsyncIterator[Any]:
        with self.inner.write(headers) as writing:
            yield writing

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[bool]:
        with self.inner.taken() as got:
            yield got


class Site:
    """A web application: ``datasync``, and ``lists(...)``, of either kind."""

    def __init__(self, datasync: Any, lists: Any) -> None:
        self.datasync = datasync
        self.lists = lists


@pytest_asyncio.fixture(params=["blocking", "asyncio"])
async def connect(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    transports: list[Any] = []

    def connect(url: str, key: str = "swordfish") -> Site:
        if request.param == "asyncio":
            transports.append(aio.SnorkyHTTPTransport(url, key, timeout=patient(5)))
            datasync = aio.DataSync(aio.SnorkyBackend(transports[-1]))
            return Site(datasync, lambda *args: aio.Lists(datasync, *args))
        transports.append(SnorkyHTTPTransport(url, key, timeout=patient(5)))
        blocking = DataSync(SnorkyBackend(transports[-1]))
        return Site(Awaited(blocking), lambda *args: Awaited(Lists(blocking, *args)))

    yield connect
    for transport in transports:
        if isinstance(transport, SnorkyHTTPTransport):
            transport.close()
        else:
            await transport.aclose()


@pytest.fixture
def site(connect: Any, server: Any) -> Site:
    """Beside a real Snorky."""
    return connect(server.backend_url)


@pytest.fixture
def recorded(connect: Any, backend: Any) -> Site:
    """Beside a server that records."""
    return connect(backend.url)


def fails_first(backend: Any, times: int) -> None:
    """Let the server hang up that often; then it answers."""
    reply = backend.answer

    def answer(handler: Any, request: Any) -> None:
        if len(backend.requests) <= times:
            handler.hang_up()
        else:
            reply(handler, request)

    backend.answer = answer


async def test_what_is_published_after_the_token_s_place_reaches_the_page(site, page):
    place = await site.datasync.head()
    position = await site.datasync.publish([INSERT])
    assert isinstance(position, str)
    token = await site.datasync.authorize(ITEMS, after=place)
    answer = page.open(token)
    assert [change["data"] for change in answer["changes"]] == [{"id": 1}]


async def test_the_head_is_kept_for_ten_seconds(recorded, backend):
    backend.answers("position")
    assert await recorded.datasync.head() == await recorded.datasync.head() == "position"
    assert backend.commands() == ["head"]


def test_an_older_head_is_asked_for_again():
    now = 100.0
    head = Head(clock=lambda: now)
    head.learn("p")
    now = 109.9
    assert head.fresh == "p"
    now = 110.1
    assert head.fresh is None


async def test_a_place_in_a_log_that_is_gone_gives_no_token_and_is_asked_for_anew(site, page):
    """Snorky was started anew; with a token of its former life pages would ask again and again."""
    site.datasync._head.learn("former.7.nonce")
    place = await site.datasync.head()
    with pytest.raises(NoAnswerError, match="started anew"):
        await site.datasync.authorize(ITEMS, after=place)
    token = await site.datasync.authorize(ITEMS, after=await site.datasync.head())
    assert page.open(token)["recovered"]


async def test_a_publication_whose_answer_was_lost_is_repeated_under_its_key(recorded, backend):
    fails_first(backend, 2)
    await recorded.datasync.publish([INSERT])
    keys = [request.params["key"] for request in backend.requests]
    assert len(keys) == 3
    assert len(set(keys)) == 1
    await recorded.datasync.publish([INSERT])
    assert backend.requests[-1].params["key"] != keys[0]


async def test_the_same_key_again_is_applied_once(site, page):
    answer = page.open(await site.datasync.authorize(ITEMS))
    first = await site.datasync.publish([INSERT], key="k" * 16)
    assert await site.datasync.publish([INSERT], key="k" * 16) == first
    frames = [page.next_frame()]
    await site.datasync.publish([INSERT | {"data": {"id": 2}}])
    frames.append(page.next_frame())
    changes = [c["data"]["id"] for f in frames for c in f.get("changes", [])]
    assert answer["recovered"]
    assert changes in ([1, 2], [1])


async def test_what_was_not_delivered_is_reset_by_the_first_call_that_succeeds(recorded, backend):
    backend.hangs_up()
    with pytest.raises(NoAnswerError):
        await recorded.datasync.publish([INSERT])
    with pytest.raises(NoAnswerError):
        await recorded.datasync.authorize(ITEMS)
    assert backend.commands() == ["publishDeltas"] * 6  # nobody is given a token before the reset
    backend.requests.clear()
    backend.answers("t0ken")
    assert await recorded.datasync.authorize(ITEMS) == "t0ken"
    assert backend.commands() == ["publishDeltas", "authorizeSubscription"]
    assert backend.requests[0].params["deltas"] == [{"type": "reset", "model": "Task"}]
    await recorded.datasync.authorize(ITEMS)
    assert backend.commands() == ["publishDeltas"] + ["authorizeSubscription"] * 2


async def test_a_reset_precedes_what_is_published_next(recorded, backend):
    backend.sends(500, b"")
    with pytest.raises(RuntimeError):
        await recorded.datasync.publish([INSERT])
    backend.answers(None)
    await recorded.datasync.publish([INSERT | {"data": {"id": 2}}])
    reset, insert = backend.requests[-1].params["deltas"]
    assert reset == {"type": "reset", "model": "Task"}
    assert insert["data"] == {"id": 2}


async def test_a_reset_ends_the_lists_of_its_model(site, page):
    answer = page.open(await site.datasync.authorize(ITEMS))
    await site.datasync.reset("Task")
    while (frame := page.next_frame())["type"] != "resync":
        pass
    assert frame["subscriptions"] == [answer["subscription"]]
    assert frame["reason"] == "reset"


async def test_more_than_an_entry_holds_is_told_as_a_reset(recorded, backend):
    huge = {"type": "insert", "model": "Book", "data": {"text": "é" * (MAX_ENTRY_BYTES // 6)}}
    await recorded.datasync.publish([INSERT, huge])
    assert backend.requests[-1].params["deltas"] == [
        {"type": "reset", "model": "Task"},
        {"type": "reset", "model": "Book"},
    ]


async def test_subscriptions_are_revoked_refreshed_and_listed(site, page):
    answer = page.open(await site.datasync.authorize(ITEMS, subject=None))
    [entry] = await site.datasync.subscriptions()
    assert (entry["dealer"], entry["model"], entry["subscriptions"]) == ("AllTasks", "Task", 1)
    await site.datasync.refresh(models=["Task"])
    await site.datasync.revoke(items=ITEMS, models=["Task"])
    seen = []
    while (frame := page.next_frame())["type"] != "resync":
        seen.append(frame["type"])
    assert "refresh" in seen
    assert (frame["reason"], frame["subscriptions"]) == ("revoked", [answer["subscription"]])


async def test_revoking_needs_to_know_what(recorded):
    for command in (recorded.datasync.revoke, recorded.datasync.refresh):
        with pytest.raises(ValueError, match="at least one of subject, items and models"):
            await command()


# Around requests


async def test_a_page_that_asks_gets_a_token_that_no_cache_keeps(site, page):
    async with site.lists().read(ASKING) as reading:
        await reading.subscribe(ITEMS)
    assert reading.headers["Cache-Control"] == "no-store, private"
    assert reading.headers["Vary"] == "X-Snorky"
    token = reading.headers["X-Subscription-Token"]
    assert reading.headers["X-Subscription"] == token
    assert page.open(token)["recovered"]


async def test_a_page_that_does_not_ask_gets_none_but_caches_know(recorded, backend):
    async with recorded.lists().read({"Accept": "*/*"}) as reading:
        await reading.subscribe(ITEMS)
    assert reading.headers == {"Vary": "X-Snorky"}
    assert backend.requests == []


async def test_the_place_is_taken_before_permission_is_checked(recorded, backend):
    backend.answers("place")
    async with recorded.lists().read(ASKING) as reading:
        assert backend.commands() == ["head"]
        await reading.subscribe(ITEMS, subject="ann")
    assert backend.requests[1].params == {"items": ITEMS, "subject": "ann", "after": "place"}


async def test_who_is_refused_gets_no_token(recorded, backend):
    with pytest.raises(PermissionError):
        async with recorded.lists().read(ASKING):
            raise PermissionError
    assert backend.commands() == ["head"]


async def test_a_reader_waits_for_those_who_write(recorded, backend):
    backend.answers("t0ken")
    lists = recorded.lists()
    order: list[str] = []

    async def read() -> None:
        async with lists.read(ASKING) as reading:
            await reading.subscribe(ITEMS)
            order.append("query")
            asyncio.get_running_loop().call_later(0.05, release.set)
        order.append(reading.headers["X-Subscription-Token"])

    release, taken = asyncio.Event(), threading.Event()
    if isinstance(lists, Awaited):
        stop = threading.Event()

        def write() -> None:
            with lists.inner.write({}):
                taken.set()
                stop.wait(patient(10))
                order.append("published")

        writer = threading.Thread(target=write)
        writer.start()
        assert taken.wait(patient(10))
        threading.Timer(0.1, stop.set).start()
        await read()
        writer.join()
    else:

        async def write_too() -> None:
            async with lists.write({}):
                taken.set()
                await release.wait()
                order.append("published")

        writing = asyncio.create_task(write_too())
        while not taken.is_set():
            await asyncio.sleep(0)
        await read()
        await writing
    assert order == ["query", "published", "t0ken"]


async def test_what_is_lost_while_it_queries_costs_a_page_its_token(recorded, backend, expect_log):
    backend.answers("t0ken")
    async with recorded.lists().read(ASKING) as reading:
        await reading.subscribe(ITEMS)
        recorded.datasync.lost.remember(["Task"])
    assert "X-Subscription-Token" not in reading.headers
    assert reading.headers["Cache-Control"] == "no-store, private"
    expect_log("changes are not published yet")


async def test_without_snorky_a_page_gets_its_rows(connect, nobody, expect_log):
    async with connect(nobody).lists().read(ASKING) as reading:
        await reading.subscribe(ITEMS)
    assert reading.token is None
    assert reading.headers["Cache-Control"] == "no-store, private"
    expect_log("A list is answered without subscription: No answer from Snorky")


async def test_a_write_publishes_its_changes_under_one_key_when_it_ends(recorded, backend):
    async with recorded.lists().write({}) as writing:
        writing.insert("Task", {"id": 1})
        row = {"id": 2}
        writing.update("Task", row, {"id": 2, "old": True})
        row["id"] = 3  # too late to be told
        writing.delete("Task", {"id": 4})
        writing.reset("Person")
        assert backend.requests == []
    [request] = backend.requests
    assert request.params["deltas"] == [
        {"type": "insert", "model": "Task", "data": {"id": 1}},
        {
            "type": "update",
            "model": "Task",
            "newData": {"id": 2},
            "oldData": {"id": 2, "old": True},
        },
        {"type": "delete", "model": "Task", "data": {"id": 4}},
        {"type": "reset", "model": "Person"},
    ]
    assert writing.headers == {"X-Snorky-Keys": request.params["key"]}


async def test_a_write_that_fails_publishes_nothing(recorded, backend):
    async def fail() -> None:
        async with recorded.lists().write({}) as writing:
            writing.insert("Task", {"id": 1})
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert backend.requests == []


async def test_a_write_that_changes_nothing_has_no_key(recorded, backend):
    async with recorded.lists().write({}) as writing:
        pass
    assert (writing.headers, backend.requests) == ({}, [])


async def test_an_outage_does_not_fail_a_write(connect, nobody, expect_log):
    site = connect(nobody)
    async with site.lists().write({}) as writing:
        writing.insert("Task", {"id": 1})
    assert writing.headers == {}
    assert site.datasync.lost
    expect_log("1 deltas not published: No answer from Snorky")


async def test_the_keys_of_a_write_lead_to_its_change(site, page):
    page.open(await site.datasync.authorize(ITEMS))
    async with site.lists().write({}) as writing:
        writing.insert("Task", {"id": 1})
    keys = writing.headers["X-Snorky-Keys"].split(",")
    assert isinstance(page.call("datasync", "awaitKeys", keys=keys), str)


PAGE = "https://app.example.com"


async def test_pages_of_allowed_origins_may_read_the_token(recorded, backend):
    backend.answers("t0ken")
    lists = recorded.lists([PAGE])
    async with lists.read({**ASKING, "Origin": PAGE}) as reading:
        await reading.subscribe(ITEMS)
    assert reading.headers["Access-Control-Allow-Origin"] == PAGE
    assert reading.headers["Access-Control-Allow-Credentials"] == "true"
    assert (
        reading.headers["Access-Control-Expose-Headers"] == "X-Subscription-Token, X-Subscription"
    )
    assert reading.headers["Vary"] == "X-Snorky, Origin"
    async with lists.write({"origin": PAGE}) as writing:
        writing.reset("Task")
    assert writing.headers["Access-Control-Expose-Headers"] == "X-Snorky-Keys"


async def test_pages_of_other_origins_may_not(recorded, backend):
    backend.answers("t0ken")
    async with recorded.lists([PAGE]).read({**ASKING, "Origin": "https://evil.com"}) as reading:
        await reading.subscribe(ITEMS)
    assert "Access-Control-Allow-Origin" not in reading.headers
    assert reading.headers["Vary"] == "X-Snorky, Origin"


async def test_everybody_may_come_without_cookies(recorded):
    async with recorded.lists(["*"]).read({"Origin": "https://a.com"}) as reading:
        pass
    assert reading.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in reading.headers


def test_a_browser_is_told_before_what_it_may_send():
    lists = Lists(DataSync(SnorkyBackend(None)), [PAGE])  # type: ignore[arg-type]
    asked = {
        "Origin": PAGE,
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "x-snorky,content-type",
    }
    allowed = lists.preflight(asked)
    assert allowed["Access-Control-Allow-Origin"] == PAGE
    assert allowed["Access-Control-Allow-Headers"] == "x-snorky,content-type"
    assert allowed["Access-Control-Allow-Methods"] == "PATCH"
    assert lists.preflight(asked | {"Origin": "https://evil.com"}) == {"Vary": "Origin"}


# In the same program


class AllTasks(BroadcastDealer):
    model = "Task"


@pytest.fixture
def in_process() -> tuple[aio.SnorkyBackend, DataSyncService]:
    service = DataSyncService("datasync", [AllTasks])
    registry = ServiceRegistry([DataSyncBackend("datasync_backend", service)])
    return aio.SnorkyBackend(aio.InProcessTransport(registry)), service


async def test_a_snorky_in_the_same_program_needs_no_http(in_process):
    snorky, service = in_process
    datasync, client = aio.DataSync(snorky), FakeClient()
    async with aio.Lists(datasync).read(ASKING) as reading:
        await reading.subscribe(ITEMS)
    opened = [{"token": reading.token}]
    [answer] = call(service, client, "openSubscriptions", subscriptions=opened)
    await datasync.publish([INSERT])
    assert answer["recovered"]
    changes = [message for message in client.messages if message["type"] == "changes"]
    assert [change["data"] for change in changes[0]["changes"]] == [{"id": 1}]


async def test_its_refusals_are_those_of_every_connector(in_process, expect_log):
    snorky, _ = in_process
    with pytest.raises(SnorkyError, match="No such dealer"):
        await snorky.call(
            "datasync_backend", "authorizeSubscription", items=[{"dealer": "X", "query": None}]
        )
    with pytest.raises(RuntimeError, match="Error from Snorky server: 400 Message for non exist"):
        await snorky.call("nowhere", "publish")
    expect_log('Message for non existing service "nowhere"')
