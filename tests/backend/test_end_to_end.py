"""Both connectors against Snorky itself."""

from collections.abc import Iterator

import pytest

from snorky.backend import SnorkyBackend, SnorkyError, SnorkyHTTPTransport, aio


@pytest.fixture
def snorky(server) -> Iterator[SnorkyBackend]:
    transport = SnorkyHTTPTransport(server.backend_url, server.key)
    yield SnorkyBackend(transport)
    transport.close()


@pytest.mark.usefixtures("each_fanout")
def test_a_back_end_publishes_to_a_page(snorky, page):
    token = snorky.call(
        "datasync_backend", "authorizeSubscription", items=[{"dealer": "AllTasks", "query": None}]
    )
    assert page.call("datasync", "acquireSubscription", token=token) is None
    delta = {"type": "insert", "model": "Task", "data": {"id": 1, "title": "ñandú 🦜"}}
    assert snorky.call("datasync_backend", "publishDeltas", deltas=[delta]) is None
    assert page.next_delta() == delta


def test_errors_have_the_text_of_the_service(snorky):
    with pytest.raises(SnorkyError, match=r"^No such dealer$"):
        snorky.call(
            "datasync_backend", "authorizeSubscription", items=[{"dealer": "X", "query": None}]
        )
    with pytest.raises(SnorkyError, match=r"^Unknown command$"):
        snorky.call("pubsub_backend", "shout")


def test_what_is_no_call_is_a_status(snorky, server, expect_log):
    with pytest.raises(RuntimeError, match=r"^Error from Snorky server: 400 Bad Request$"):
        snorky.call("nowhere", "publish")
    expect_log('Message for non existing service "nowhere"')
    transport = SnorkyHTTPTransport(server.backend_url, "another key")
    with pytest.raises(RuntimeError, match=r"^Error from Snorky server: 401 Unauthorized$"):
        transport.send({"service": "pubsub_backend", "message": {}})
    transport.close()
    expect_log("Invalid API key")


def test_a_message_past_the_servers_limit_is_a_status(snorky, expect_log):
    with pytest.raises(RuntimeError, match=r"^Error from Snorky server: 413 "):
        snorky.call("pubsub_backend", "publish", channel="c", message="x" * 2**21)
    expect_log("Expected at most 1048576 bytes")
    assert snorky.call("pubsub_backend", "publish", channel="c", message="x") is None


async def test_the_asyncio_connector_does_the_same(server):
    async with aio.SnorkyHTTPTransport(server.backend_url, server.key) as transport:
        snorky = aio.SnorkyBackend(transport)
        assert await snorky.call("pubsub_backend", "publish", channel="c", message=1) is None
        with pytest.raises(SnorkyError, match=r"^Unknown command$"):
            await snorky.call("pubsub_backend", "shout")
