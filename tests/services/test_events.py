"""Events: who is connected to what, and who hears of an update."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snorky.limits import Limits
from snorky.metrics import metrics
from snorky.services.base import RPCError
from snorky.services.events import BadPath, EventsBackend, EventsService
from snorky.services.events import backend as backend_module
from snorky.testing import FakeClient, async_call, call
from tests.patience import patient
from tests.services.late_broker import LateBroker

TRUSTED = FakeClient("the web application")


@pytest.fixture
def events() -> EventsService:
    return EventsService("events")


@pytest.fixture
def backend(events: EventsService) -> EventsBackend:
    return EventsBackend("events_backend", events)


@pytest.fixture
def alice() -> FakeClient:
    return FakeClient("alice")


@pytest.fixture
def bob() -> FakeClient:
    return FakeClient("bob")


def connect(backend: EventsBackend, client: FakeClient, *paths: str) -> str:
    client_id: str = call(backend.frontend, client, "getId")
    call(backend, TRUSTED, "connect", clientId=client_id, path=list(paths))
    return client_id


def update(backend: EventsBackend, path: str, message: Any = None) -> None:
    call(backend, TRUSTED, "update", path=path, message=message)


def notification(path: str, message: Any, **pattern: str) -> dict[str, Any]:
    return {"type": "update", "path": path, "message": message, **pattern}


# Ids


def test_an_id_is_the_connection_s_own_and_cannot_be_guessed(
    events: EventsService, alice: FakeClient, bob: FakeClient
) -> None:
    first, second = call(events, alice, "getId"), call(events, bob, "getId")

    assert first != second
    assert len(first) == 32
    assert call(events, alice, "getId") == first


def test_an_id_dies_with_its_connection(backend: EventsBackend, alice: FakeClient) -> None:
    client_id = connect(backend, alice, "/jobs/7")
    backend.frontend.client_disconnected(alice)

    for command in ("connect", "disconnect"):
        with pytest.raises(RPCError, match=r"^Unknown client id$"):
            call(backend, TRUSTED, command, clientId=client_id, path="/jobs/7")
    update(backend, "/jobs/7", 1)
    assert alice.messages == []


def test_an_id_is_never_logged(
    backend: EventsBackend, caplog: pytest.LogCaptureFixture, alice: FakeClient
) -> None:
    client_id = connect(backend, alice)
    with pytest.raises(RPCError):
        call(backend, TRUSTED, "connect", clientId=client_id, path="")

    assert "A path must not be empty" in caplog.text
    assert client_id not in caplog.text


# Updates


def test_an_update_reaches_all_who_are_connected_to_its_path_and_nobody_else(
    backend: EventsBackend, alice: FakeClient, bob: FakeClient
) -> None:
    connect(backend, alice, "/jobs/7")
    connect(backend, bob, "/jobs/7", "/jobs/8")
    update(backend, "/jobs/7", {"percent": 15})
    update(backend, "/jobs/8", {"percent": 20})
    update(backend, "/jobs")

    expected = notification("/jobs/7", {"percent": 15})
    assert alice.received == [{"service": "events", "message": expected}]
    assert bob.messages == [expected, notification("/jobs/8", {"percent": 20})]


def test_the_message_is_optional(backend: EventsBackend, alice: FakeClient) -> None:
    connect(backend, alice, "/news")
    call(backend, TRUSTED, "update", path="/news")

    assert alice.messages == [notification("/news", None)]


def test_to_be_connected_twice_is_no_error_and_changes_nothing(
    backend: EventsBackend, alice: FakeClient
) -> None:
    before = metrics.subscriptions
    client_id = connect(backend, alice, "/jobs/7", "/jobs/7")
    connect(backend, alice, "/jobs/7")
    update(backend, "/jobs/7", 1)
    assert len(alice.messages) == 1
    assert metrics.subscriptions == before + 1

    for _ in range(2):
        call(backend, TRUSTED, "disconnect", clientId=client_id, path="/jobs/7")
    update(backend, "/jobs/7", 2)
    assert len(alice.messages) == 1
    assert metrics.subscriptions == before


def test_a_page_may_leave_by_itself(backend: EventsBackend, alice: FakeClient) -> None:
    connect(backend, alice, "/a", "/b", "/c")
    call(backend.frontend, alice, "leave", path="/a")
    call(backend.frontend, alice, "leave", path=["/b", "/never"])
    call(backend.frontend, FakeClient(), "leave", path="/a")
    for path in ("/a", "/b", "/c"):
        update(backend, path)

    assert alice.messages == [notification("/c", None)]


def test_a_pattern_matches_every_path_below_it(
    backend: EventsBackend, alice: FakeClient, bob: FakeClient
) -> None:
    connect(backend, alice, "/jobs/*")
    connect(backend, bob, "/*")
    for path in ("/jobs/7", "/jobs/7/log", "/jobs/", "/jobs", "/jobless/7", "jobs/7"):
        update(backend, path)

    below = ["/jobs/7", "/jobs/7/log", "/jobs/"]
    assert alice.messages == [notification(path, None, pattern="/jobs/*") for path in below]
    assert [message["path"] for message in bob.messages] == [*below, "/jobs", "/jobless/7"]


def test_a_page_hears_once_for_each_of_its_connections(
    backend: EventsBackend, alice: FakeClient
) -> None:
    connect(backend, alice, "/jobs/7", "/jobs/*")
    update(backend, "/jobs/7", 1)

    assert sorted(alice.messages, key=len) == [
        notification("/jobs/7", 1),
        notification("/jobs/7", 1, pattern="/jobs/*"),
    ]


# What is no path


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        (7, "A path must be a string"),
        ({"path": "/jobs"}, "A path must be a string"),
        ([["/jobs"]], "A path must be a string"),
        ("", "A path must not be empty"),
        ("/" + 256 * "x", "A path has at most 256 characters"),
        (17 * "/", "A path has at most 16 slashes"),
        ("/jobs\n", "A path must be printable"),
        ("/\ud800", "A path must be printable"),
        ("*", r"\* must be at the end of a path, after a slash"),
        ("/jobs*", r"\* must be at the end of a path, after a slash"),
        ("/*/log", r"\* must be at the end of a path, after a slash"),
        ("/jobs/**", r"\* must be at the end of a path, after a slash"),
    ],
)
def test_what_is_no_path_is_refused_with_the_reason(
    backend: EventsBackend, alice: FakeClient, path: Any, fault: str
) -> None:
    client_id = connect(backend, alice)
    for command in ("connect", "disconnect"):
        with pytest.raises(RPCError, match=f"^{fault}$"):
            call(backend, TRUSTED, command, clientId=client_id, path=path)
    with pytest.raises(RPCError, match=f"^{fault}$"):
        call(backend.frontend, alice, "leave", path=path)
    if not isinstance(path, list):
        with pytest.raises(RPCError, match=f"^{fault}$"):
            call(backend, TRUSTED, "update", path=path)


def test_an_update_goes_to_one_path_that_is_no_own_of_ours(backend: EventsBackend) -> None:
    with pytest.raises(RPCError, match=r"^An update goes to one path"):
        update(backend, "/jobs/*")
    with pytest.raises(RPCError, match=r"^Only Snorky itself updates"):
        update(backend, "::connect", "forged->/jobs")
    with pytest.raises(BadPath, match=r"^A path must be a string$"):
        backend.frontend.update("job", None)  # type: ignore[arg-type]


def test_of_several_paths_all_are_connected_or_none(
    backend: EventsBackend, alice: FakeClient
) -> None:
    for bad in ("", "/a/*/b", "::connect"):
        with pytest.raises(RPCError):
            connect(backend, alice, "/good", bad)
    update(backend, "/good")

    assert alice.messages == []


def test_paths_of_one_client_are_counted(backend: EventsBackend, alice: FakeClient) -> None:
    backend.frontend.limits = Limits(max_subscriptions=2)
    client_id = connect(backend, alice, "/a", "/b")
    connect(backend, alice, "/b", "/a")
    with pytest.raises(RPCError, match=r"^Too many subscriptions$"):
        connect(backend, alice, "/c")
    call(backend, TRUSTED, "disconnect", clientId=client_id, path="/a")
    connect(backend, alice, "/c")


# Parts of this program


def test_a_function_hears_of_updates(events: EventsService) -> None:
    heard: list[Any] = []
    receive: Callable[..., None] = lambda *update: heard.append(update)  # noqa: E731
    events.connect(receive, "/jobs/7")
    events.connect(receive, "/jobs/7")
    events.connect(receive, "/jobs/*")
    events.update("job", "/jobs/7", 15)
    assert heard == 2 * [(events, "/jobs/7", 15)]

    events.disconnect(receive, "/jobs/*")
    events.disconnect(receive, "/jobs/*")
    events.update("job", "/jobs/7", 20)
    assert heard[2:] == [(events, "/jobs/7", 20)]


def test_services_can_be_chained_as_they_are_parts(alice: FakeClient) -> None:
    inner, outer = EventsService("inner"), EventsService("outer")
    backend = EventsBackend("outer_backend", outer)
    inner.connect(outer, "/jobs/*")
    connect(backend, alice, "/jobs/7")
    inner.update("job", "/jobs/7", 1)

    assert alice.received[-1] == {"service": "outer", "message": notification("/jobs/7", 1)}


def test_connecting_is_an_update_too(backend: EventsBackend, alice: FakeClient) -> None:
    heard: list[Any] = []

    class Imperio:
        id = "imperio"

        def update(self, sender: Any, path: str, message: Any) -> None:
            heard.append((path, message))

    tap = Imperio()
    backend.frontend.connect(tap, "*")
    client_id = connect(backend, alice, "/a", "/b", "/c")
    call(backend, TRUSTED, "disconnect", clientId=client_id, path="/a")
    call(backend.frontend, alice, "leave", path="/b")
    update(backend, "/c", 1)
    backend.frontend.client_disconnected(alice)
    backend.frontend.connect(tap, "::connect")
    backend.frontend.disconnect(tap, "::connect")

    assert heard == [
        ("::connect", "imperio->*"),
        *[("::connect", f"{client_id}->{path}") for path in ("/a", "/b", "/c")],
        ("::disconnect", f"{client_id}->/a"),
        ("::disconnect", f"{client_id}->/b"),
        ("/c", 1),
        ("::disconnect", f"{client_id}->/c"),
        *2 * [("::connect", "imperio->::connect")],
        ("::disconnect", "imperio->::connect"),
    ]


def test_a_callback_that_raises_is_logged_and_harms_nobody(
    backend: EventsBackend, alice: FakeClient, expect_log: Any
) -> None:
    heard: list[Any] = []

    def broken(sender: Any, path: str, message: Any) -> None:
        raise ZeroDivisionError

    backend.frontend.connect(broken, "/jobs/7")
    backend.frontend.connect(lambda *update: heard.append(update[2]), "/jobs/7")
    connect(backend, alice, "/jobs/7")
    update(backend, "/jobs/7", 1)
    assert (heard, len(alice.messages)) == ([1], 1)
    record = expect_log('broken, connected to service "events", path /jobs/7')
    assert record.exc_info[0] is ZeroDivisionError


def test_what_a_callback_updates_comes_after_what_it_hears(
    backend: EventsBackend, alice: FakeClient
) -> None:
    events, heard = backend.frontend, []

    def answer(sender: Any, path: str, message: Any) -> None:
        if message < 3:
            events.update("answer", path, message + 1)

    events.connect(answer, "/count")
    events.connect(lambda *update: heard.append(update[2]), "/count")
    connect(backend, alice, "/count")
    update(backend, "/count", 1)

    assert heard == [1, 2, 3]
    assert [message["message"] for message in alice.messages] == [1, 2, 3]


def test_callbacks_that_update_in_a_circle_are_stopped(
    events: EventsService, monkeypatch: pytest.MonkeyPatch, expect_log: Any
) -> None:
    monkeypatch.setattr("snorky.services.events.frontend.MAX_CHAINED_UPDATES", 100)
    heard = []

    def answer(sender: Any, path: str, message: Any) -> None:
        heard.append(message)
        events.update("answer", path, message + 1)

    events.connect(answer, "/count")
    events.update("test", "/count", 0)
    assert heard == list(range(100))
    expect_log('Callbacks of service "events" update without end: 1 updates dropped')

    events.disconnect(answer, "/count")
    events.connect(lambda *update: heard.append(update[2]), "/count")
    events.update("test", "/count", "works on")
    assert heard[100:] == ["works on"]


def test_a_callback_disconnected_by_another_is_not_called(events: EventsService) -> None:
    heard: list[Any] = []
    second: Callable[..., None] = lambda *update: heard.append(update)  # noqa: E731
    events.connect(lambda *_: events.disconnect(second, "/a"), "/a")
    events.connect(second, "/a")
    events.update("test", "/a")

    assert heard == []


def test_async_callbacks_are_refused(events: EventsService) -> None:
    async def receive(sender: Any, path: str, message: Any) -> None: ...

    with pytest.raises(TypeError, match="expected a plain function"):
        events.connect(receive, "/a")
    with pytest.raises(BadPath):
        events.connect(print, "/a*")


# The broker


async def test_processes_are_joined_by_the_broker(alice: FakeClient, bob: FakeClient) -> None:
    broker, heard = LateBroker(), []
    one, two = (EventsBackend("events_backend", EventsService("events", broker)) for _ in range(2))
    done = two.frontend.connect(lambda *update: heard.append(update[1:]), "/jobs/*")
    assert done is not None
    await done
    for backend, client in ((one, alice), (two, bob)):
        client_id = call(backend.frontend, client, "getId")
        await async_call(backend, TRUSTED, "connect", clientId=client_id, path=["/jobs/7", "/x"])
    assert await async_call(one, TRUSTED, "update", path="/jobs/7", message=1) is None

    assert alice.messages == bob.messages == [notification("/jobs/7", 1)]
    assert heard == [("/jobs/7", 1)]
    topics = [*2 * ["events//jobs/7", "events//x"], "events//jobs/*"]
    assert sorted(broker.asked) == sorted(topics)
    one.frontend.client_disconnected(alice)
    two.frontend.client_disconnected(bob)
    assert broker.asked == ["events//jobs/*"]
    while asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.sleep(0)


# Watching


async def test_what_is_watched_is_fetched_as_it_comes(backend: EventsBackend) -> None:
    opened = call(backend, TRUSTED, "watch", paths=["/jobs/*", "/jobs/7"])
    assert opened == {"tap": opened["tap"], "after": 0, "updates": [], "missed": 0}
    fetching = asyncio.ensure_future(
        async_call(backend, TRUSTED, "watch", tap=opened["tap"], after=0)
    )
    await asyncio.sleep(0)
    assert not fetching.done()
    assert not backend.tasks  # Snorky, when it stops, waits for tasks
    update(backend, "/jobs/7", {"percent": 15})
    update(backend, "/jobs", "not watched")
    update(backend, "/jobs/8")
    fetched = await fetching

    expected = [
        {"path": "/jobs/7", "message": {"percent": 15}},
        {"path": "/jobs/8", "message": None},
    ]
    assert fetched == {"tap": opened["tap"], "after": 2, "updates": expected, "missed": 0}
    # The answer was lost on its way: asked again, it comes again.
    again = call(backend, TRUSTED, "watch", tap=opened["tap"], after=0)
    assert again == fetched
    update(backend, "/jobs/9")
    last = call(backend, TRUSTED, "watch", tap=opened["tap"], after=2)
    assert (last["after"], last["updates"]) == (3, [{"path": "/jobs/9", "message": None}])
    call(backend, TRUSTED, "unwatch", tap=opened["tap"])


async def test_without_paths_everything_is_watched(
    backend: EventsBackend, alice: FakeClient
) -> None:
    tap = call(backend, TRUSTED, "watch")["tap"]
    client_id = connect(backend, alice, "anything")
    update(backend, "anything", 1)
    updates = call(backend, TRUSTED, "watch", tap=tap)["updates"]

    assert updates == [
        {"path": "::connect", "message": f"{tap}->*"},
        {"path": "::connect", "message": f"{client_id}->anything"},
        {"path": "anything", "message": 1},
    ]
    call(backend, TRUSTED, "unwatch", tap=tap)
    call(backend, TRUSTED, "unwatch", tap=tap)
    with pytest.raises(RPCError, match=r"^Unknown tap$"):
        call(backend, TRUSTED, "watch", tap=tap)


async def test_who_fetches_too_late_is_told_how_much_is_missing(
    backend: EventsBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snorky.services.events.taps.MAX_TAP_BYTES", 100)
    tap = call(backend, TRUSTED, "watch", paths=["/n"])["tap"]
    for number in range(10):
        update(backend, "/n", number)
    fetched = call(backend, TRUSTED, "watch", tap=tap)

    kept = [each["message"] for each in fetched["updates"]]
    assert kept == [6, 7, 8, 9]
    assert (fetched["missed"], fetched["after"]) == (6, 10)
    call(backend, TRUSTED, "unwatch", tap=tap)


async def test_nothing_is_kept_for_a_tap_that_nobody_asks_for(
    backend: EventsBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert backend_module.TAP_SECONDS <= 60
    monkeypatch.setattr(backend_module, "TAP_SECONDS", 0.05)
    tap = call(backend, TRUSTED, "watch", paths=["/n"])["tap"]
    ended = asyncio.Event()
    backend.frontend.connect(lambda *_: ended.set(), "::disconnect")
    async with asyncio.timeout(patient(20)):
        await ended.wait()
    with pytest.raises(RPCError, match=r"^Unknown tap$"):
        call(backend, TRUSTED, "watch", tap=tap)


async def test_a_second_question_answers_the_first_with_nothing(backend: EventsBackend) -> None:
    tap = call(backend, TRUSTED, "watch", paths=["/n"])["tap"]
    first = asyncio.ensure_future(async_call(backend, TRUSTED, "watch", tap=tap))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(async_call(backend, TRUSTED, "watch", tap=tap))
    assert (await first)["updates"] == []
    assert not second.done()
    call(backend, TRUSTED, "unwatch", tap=tap)
    assert (await second)["updates"] == []


async def test_a_question_is_answered_in_time_also_where_nothing_happens(
    backend: EventsBackend,
) -> None:
    backend.limits = Limits(backend_timeout=0.1)
    tap = call(backend, TRUSTED, "watch", paths=["/n"])["tap"]
    assert (await async_call(backend, TRUSTED, "watch", tap=tap))["updates"] == []
    call(backend, TRUSTED, "unwatch", tap=tap)


async def test_taps_are_counted_and_their_paths_checked(backend: EventsBackend) -> None:
    with pytest.raises(RPCError, match=r"^\* must be at the end"):
        call(backend, TRUSTED, "watch", paths=["/*", "/*/x"])
    taps = [
        call(backend, TRUSTED, "watch", paths=["/n"])["tap"] for _ in range(backend_module.MAX_TAPS)
    ]
    with pytest.raises(RPCError, match=r"^Too many taps: at most 100$"):
        call(backend, TRUSTED, "watch")
    for tap in taps:
        call(backend, TRUSTED, "unwatch", tap=tap)


# Equal to a naive model, whatever happens in whatever order

PATHS = ["/a", "/a/", "/a/b", "/a/b/c", "/b", "a", "a/b"]
PATTERNS = ["/*", "/a/*", "/a/b/*", "/b/*", "a/*"]
STEPS = st.one_of(
    st.tuples(st.just("connect"), st.integers(0, 2), st.lists(st.sampled_from(PATHS + PATTERNS))),
    st.tuples(st.just("disconnect"), st.integers(0, 2), st.sampled_from(PATHS + PATTERNS)),
    st.tuples(st.just("update"), st.sampled_from(PATHS), st.integers(0, 9)),
    st.tuples(st.just("reconnect"), st.integers(0, 2), st.none()),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_deliveries_equal_those_of_a_naive_model(steps: list[tuple[str, Any, Any]]) -> None:
    backend = EventsBackend("backend", EventsService("events"))
    clients = [FakeClient() for _ in range(3)]
    connected: list[set[str]] = [set(), set(), set()]
    expected: list[dict[str, list[Any]]] = [{}, {}, {}]  # for each client: by connection, in order
    for step, target, value in steps:
        if step == "connect":
            connect(backend, clients[target], *value)
            connected[target] |= set(value)
        elif step == "disconnect":
            client_id = call(backend.frontend, clients[target], "getId")
            call(backend, TRUSTED, "disconnect", clientId=client_id, path=value)
            connected[target].discard(value)
        elif step == "reconnect":
            backend.frontend.client_disconnected(clients[target])
            connected[target].clear()
        else:
            update(backend, target, value)
            for paths, deliveries in zip(connected, expected, strict=True):
                for path in paths:
                    prefix = path.removesuffix("*")
                    if target.startswith(prefix) if prefix != path else target == path:
                        deliveries.setdefault(path, []).append((target, value))
    for client, deliveries in zip(clients, expected, strict=True):
        received: dict[str, list[Any]] = {}
        for message in client.messages:
            connection = message.get("pattern", message["path"])
            received.setdefault(connection, []).append((message["path"], message["message"]))
        assert received == deliveries
    for client in clients:
        backend.frontend.client_disconnected(client)
    assert not backend.frontend._listeners
    assert not backend.frontend._pages_by_id
