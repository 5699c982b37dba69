"""What every edge promises, as one suite, tried with the edge's real client.

An edge's own tests subclass ``EdgeContract`` (``SessionContract`` where clients have sessions that
outlive their requests) and say by an ``Edge`` how it is served and how its clients come in.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest

from snorky.close_codes import DISCONNECTED, TOKEN_EXPIRED
from snorky.metrics import metrics
from snorky.testing import FakeClient, call
from tests.conftest import Certificate, ExpectLog
from tests.edges.edge import Edge, SessionEdge
from tests.edges.office import EARLIER, LIMITS
from tests.edges.pages import CallFailed, Page, is_answer
from tests.edges.site import Site, start_browser, until
from tests.identity.tokens import token

# What JavaScript, JSON, HTML, event streams and percent signs make of text.
TRICKY = '100% </script> data: \n\n\u2028\u2029\u200d\ufffe \0\r\n" \\ é → 😀'
OUR_PAGE = "http://127.0.0.1:8000"
EVIL = "https://evil.example"
FRIEND = "https://app.example"
MESSAGES = 100


@pytest.mark.asyncio(loop_scope="class")
class EdgeContract:
    """Subclass it as ``TestMyEdge`` and give it an ``edge``.

    When a test is over, the fixture ``site`` looks that every client has left, and has left once.
    """

    edge: ClassVar[Edge]

    # Messages

    async def test_a_call_is_answered(self, site: Site) -> None:
        page = await site.visit()
        assert await page.call("desk", "sum", number1=1, number2=2) == 3
        values: list[Any] = [None, False, 0, "", [], {}, [1.5, {"a": [None]}], 2**53 - 1, TRICKY]
        for value in values:
            assert await page.call("desk", "repeat", value=value) == value

    async def test_an_error_is_told(self, site: Site, expect_log: ExpectLog) -> None:
        page = await site.visit()
        calls: list[tuple[str, dict[str, Any], str]] = [
            ("fail", {"text": "größer"}, "größer"),
            ("fly", {}, "Unknown command"),
            ("sum", {"number1": 1}, "Invalid params"),
        ]
        for command, params, text in calls:
            with pytest.raises(CallFailed) as failed:
                await page.call("desk", command, **params)
            assert str(failed.value) == text
        expect_log('Invalid params in RPC service "desk": sum({"number1": 1})')
        assert await page.call("desk", "sum", number1=1, number2=2) == 3

    async def test_text_arrives_as_it_was_both_ways(self, site: Site) -> None:
        page = await site.visit()
        texts = [TRICKY, "x" * (LIMITS.max_message_bytes // 2), "é" * 3000, ""]
        for text in texts:
            await page.say("notebook", text)
        assert await page.hears(len(texts), "notebook") == texts
        assert site.office.notebook.notes == texts

    async def test_what_is_said_on_arrival_comes_first(self, site: Site) -> None:
        page = await site.visit()
        assert page.received == [("desk", {"type": "welcome", "identity": None})]

    async def test_notifications_and_answers_come_in_the_order_they_were_sent(
        self, site: Site
    ) -> None:
        page = await site.visit()
        rings = [page.call("desk", "ring", number=number) for number in range(MESSAGES)]
        assert await asyncio.gather(*rings) == list(range(MESSAGES))
        heard = [
            ("answer", message["data"]) if is_answer(message) else ("bell", message["number"])
            for _, message in page.received[1:]
        ]
        assert heard == [(what, n) for n in range(MESSAGES) for what in ("bell", "answer")]

    async def test_every_subscriber_hears_everything_once_and_in_the_same_order(
        self, site: Site
    ) -> None:
        channels: list[Any] = ["news", "größer", 3]
        pages = [await site.visit() for _ in range(4)]
        for page in pages[:3]:
            for channel in channels:
                await page.call("pubsub", "subscribe", channel=channel)
        await pages[3].call("pubsub", "subscribe", channel="news")

        async def publish(page: Page, author: str) -> None:
            calls = [
                page.call("pubsub", "publish", channel=channels[n % 3], message=[author, n])
                for n in range(MESSAGES)
            ]
            await asyncio.gather(*calls)

        async def publish_inside() -> None:
            for n in range(MESSAGES):
                site.office.pubsub.do_publish(channels[n % 3], ["carol", n])
                await pages[2].hears(n + 1, "pubsub")  # so that the three mix
                await asyncio.sleep(0)

        await asyncio.gather(publish(pages[0], "alice"), publish(pages[1], "bob"), publish_inside())
        for page in pages[:3]:
            await page.hears(3 * MESSAGES, "pubsub")
        await pages[3].hears(len(on(pages[0], "news")), "pubsub")
        # Between two channels no order is promised.
        for number, channel in enumerate(channels):
            heard = [on(page, channel) for page in pages]
            assert heard[0] == heard[1] == heard[2]
            assert heard[3] == (heard[0] if channel == "news" else [])
            for author in ("alice", "bob", "carol"):
                own = [n for who, n in heard[0] if who == author]
                assert own == list(range(number, MESSAGES, 3))
        for author, page in (("alice", pages[0]), ("bob", pages[1])):
            assert answered_behind_its_publications(page, author)
        for page in pages:
            heard_so_far = len(page.received)
            await page.call("desk", "sum", number1=1, number2=2)
            assert len(page.received) == heard_so_far + 1  # nothing comes late

    async def test_who_unsubscribes_hears_no_more(self, site: Site) -> None:
        page, other = await site.visit(), await site.visit()
        for subscriber in (page, other):
            await subscriber.call("pubsub", "subscribe", channel="news")
        await other.call("pubsub", "publish", channel="news", message=1)
        await page.call("pubsub", "unsubscribe", channel="news")
        await other.call("pubsub", "publish", channel="news", message=2)
        await page.call("desk", "sum", number1=1, number2=2)
        assert [message["message"] for message in page.heard("pubsub")] == [1]
        assert [message["message"] for message in other.heard("pubsub")] == [1, 2]

    # Limits

    async def test_a_message_that_is_too_long_ends_its_own_connection_alone(
        self, site: Site
    ) -> None:
        page, other = await site.visit(), await site.visit()
        longest = "x" * (LIMITS.max_message_bytes - 100)
        await page.say("notebook", longest)
        assert await page.hears(1, "notebook") == [longest]
        await page.say("notebook", "x" * LIMITS.max_message_bytes)
        code, _ = await page.end()
        assert code == (1009 if self.edge.tells_codes else None)
        await until(lambda: site.office.desk.left)
        assert site.office.notebook.notes == [longest]
        assert site.office.registry.clients == {site.office.desk.came[1]}
        assert await other.call("desk", "sum", number1=1, number2=2) == 3

    async def test_malformed_messages_are_dropped_with_a_warning(
        self, site: Site, expect_log: ExpectLog
    ) -> None:
        page = await site.visit()
        await page.say("nothing", 1)
        await page.say("desk", {"params": {}})
        await page.say("desk", "größer")
        if self.edge.takes_any_text:
            for text in ("{", "[]", '"desk"', '{"service": "desk"}'):
                await page.send_text(text)
        assert await page.call("desk", "sum", number1=1, number2=2) == 3
        expect_log('Message for non existing service "nothing"')
        assert expect_log.all('Invalid format in RPC service "desk"') == 2
        if self.edge.takes_any_text:
            expect_log("Invalid JSON from client 127.0.0.1: {")
            assert expect_log.all("Malformed message from client 127.0.0.1") == 3

    async def test_a_client_that_does_not_read_is_cut_and_holds_nobody_up(self, site: Site) -> None:
        page = await site.visit()
        await site.sit_still()
        desk, pubsub = site.office.desk, site.office.pubsub
        await until(lambda: len(desk.came) == 2)
        stuck = desk.came[1]
        await page.call("pubsub", "subscribe", channel="flood")
        call(pubsub, stuck, "subscribe", channel="flood")
        slow, most, published = metrics.clients_slow, 0, 0
        text = "x" * 60_000
        while not desk.left:
            pubsub.do_publish("flood", f"{published} {text}")
            published += 1
            most = max(most, stuck.unsent_bytes)
            await page.hears(published, "pubsub")
            assert published * len(text) < LIMITS.max_unsent_bytes + self.edge.kernel_bytes
        assert desk.left == [stuck]
        # What was queued before a message counts, and a message may be quoted on its way.
        assert most < LIMITS.max_unsent_bytes + 2 * len(text)
        assert metrics.clients_slow == slow + 1
        numbers = [int(message["message"].split()[0]) for message in page.heard("pubsub")]
        assert numbers == list(range(published))

    # Who may come in

    @pytest.mark.usefixtures("refused_pages")
    async def test_pages_of_other_sites_are_kept_out(self, site: Site) -> None:
        refused = metrics.clients_refused
        page = await site.knock(origin=EVIL)
        await page.end()
        assert not page.opened
        assert metrics.clients_refused > refused
        assert (await site.ask(self.edge.opening, Origin=EVIL)).status_code == 403
        assert site.office.desk.came == []
        ours = await site.visit(origin=OUR_PAGE)
        assert await ours.call("desk", "sum", number1=1, number2=2) == 3

    @pytest.mark.usefixtures("refused_pages")
    async def test_allowed_origins_let_pages_of_other_sites_in(self, site: Site) -> None:
        site.allowed_origins = [FRIEND]
        for origin in (FRIEND, OUR_PAGE):
            page = await site.visit(origin=origin)
            assert await page.call("desk", "sum", number1=1, number2=2) == 3
        stranger = await site.knock(origin=EVIL)
        await stranger.end()
        assert not stranger.opened
        assert len(site.office.desk.came) == 2

    async def test_services_see_who_it_is(self, site: Site) -> None:
        for source in self.edge.sources:
            page = await site.visit("alice", source)
            assert page.heard("desk") == [{"type": "welcome", "identity": "alice"}]
            await page.call("desk", "sum", number1=1, number2=2)
        came = site.office.desk.came
        assert [client.identity for client in came] == ["alice"] * len(self.edge.sources)
        assert {client.remote_address for client in came} == {"127.0.0.1"}

    async def test_who_is_refused_is_told_why(self, site: Site) -> None:
        for source in self.edge.sources:
            page = await site.knock("nobody", source)
            ended = await page.end()
            assert not page.opened
            if not self.edge.refuses_in_http:
                assert ended == (401, "Please log in")
        if self.edge.refuses_in_http:
            response = await site.ask(self.edge.opening, X_User="nobody")
            assert (response.status_code, response.text) == (401, "Please log in")
        assert site.office.desk.came == []

    # The end

    async def test_who_leaves_is_gone(self, site: Site) -> None:
        site.disconnect_delay = 2
        page = await site.visit()
        clients = metrics.clients
        await page.leave()
        desk = site.office.desk
        await until(lambda: desk.left)
        (client,) = desk.came
        client.send("nobody hears it")
        assert desk.left == [client]
        assert not client.connected
        assert client.unsent_bytes == 0
        assert site.office.registry.clients == set()
        assert metrics.clients == clients - 1

    async def test_whose_process_was_killed_is_gone(
        self, site: Site, certificate: Certificate, tmp_path: Path
    ) -> None:
        site.disconnect_delay = 2
        doomed = await start_browser(self.edge, certificate, tmp_path)
        pages = [await site.visit(browser=doomed) for _ in range(2)]
        await pages[0].call("desk", "sum", number1=1, number2=2)
        await doomed.kill()
        desk = site.office.desk
        await until(lambda: len(desk.left) == 2)
        assert set(desk.left) == set(desk.came)

    async def test_who_is_sent_away_hears_what_was_said_before(self, site: Site) -> None:
        page, other = await site.visit(), await site.visit()
        params = {"code": 4001, "reason": "good night"}
        await page.say("desk", {"command": "askToLeave", "params": params})
        ended = await page.end()
        if self.edge.tells_codes:
            assert ended == (4001, "good night")
        assert page.heard("desk")[1:] == [{"type": "lastWord"}]
        desk = site.office.desk
        await until(lambda: desk.left)
        assert desk.left == desk.came[:1]
        assert await other.call("desk", "sum", number1=1, number2=2) == 3

    async def test_who_is_disconnected_by_name_is_told_and_gone(self, site: Site) -> None:
        alices = [await site.visit("alice", source) for source in self.edge.sources]
        bob = await site.visit("bob")
        registry, desk = site.office.registry, site.office.desk
        assert registry.disconnect("carol") == 0
        assert registry.disconnect("alice") == len(alices)
        for alice in alices:
            ended = await alice.end()
            if self.edge.tells_codes:
                assert ended == DISCONNECTED
        await until(lambda: len(desk.left) == len(alices))
        assert registry.disconnect("alice") == 0
        assert registry.clients == {desk.came[-1]}
        assert await bob.call("desk", "sum", number1=1, number2=2) == 3

    async def test_an_identity_ends_unless_it_is_renewed(self, site: Site) -> None:
        stays, goes = await site.visit("alice"), await site.visit("alice")
        site.office.expires_at = time.time() + 0.5
        short = await site.visit("bob")
        with pytest.raises(CallFailed, match="Not your token"):
            await stays.call("identity", "refresh", token=token("mallory"))
        renewed = await stays.call("identity", "refresh", token=token(lasts=EARLIER + 600))
        assert 500 < renewed["expiresIn"] <= 600
        renewed = await goes.call("identity", "refresh", token=token(lasts=EARLIER + 0.3))
        assert renewed["expiresIn"] <= 0.3
        for page in (short, goes):
            ended = await page.end()
            if self.edge.tells_codes:
                assert ended == TOKEN_EXPIRED
        await until(lambda: len(site.office.desk.left) == 2)
        assert await stays.call("desk", "sum", number1=1, number2=2) == 3

    # DataSync

    async def test_deltas_before_acquiring_come_first_and_none_is_lost(self, site: Site) -> None:
        page = await site.visit()
        token = self.authorise(site, "ana")
        self.publish(site, "ana", 1, 2)
        self.publish(site, "bob", 3)
        assert await page.call("datasync", "acquireSubscription", token=token) is None
        assert [kind_of(message) for name, message in page.received if name == "datasync"] == [
            1,
            2,
            "response",
        ]
        self.publish(site, "bob", 4)
        self.publish(site, "ana", 5)
        assert [kind_of(message) for message in await page.hears(3, "datasync")] == [1, 2, 5]

    async def test_a_subscription_ends_with_its_client(self, site: Site) -> None:
        site.disconnect_delay = 2
        page = await site.visit()
        token = self.authorise(site, "ana")
        subscriptions = metrics.subscriptions
        await page.call("datasync", "acquireSubscription", token=token)
        assert metrics.subscriptions == subscriptions + 1
        await page.leave()
        await until(lambda: site.office.desk.left)
        assert metrics.subscriptions == subscriptions
        other = await site.visit()
        with pytest.raises(CallFailed, match="No such subscription"):
            await other.call("datasync", "acquireSubscription", token=token)

    def authorise(self, site: Site, owner: str) -> str:
        items = [{"dealer": "TasksOf", "query": owner}]
        token = call(site.office.backend, FakeClient(), "authorizeSubscription", items=items)
        assert isinstance(token, str)
        return token

    def publish(self, site: Site, owner: str, *numbers: int) -> None:
        rows = [{"owner": owner, "id": number} for number in numbers]
        deltas = [{"type": "insert", "model": "Task", "data": row} for row in rows]
        call(site.office.backend, FakeClient(), "publishDeltas", deltas=deltas)


class SessionContract(EdgeContract):
    """Whose clients are known by an id between their requests."""

    edge: ClassVar[SessionEdge]

    @pytest.mark.usefixtures("refused_pages")
    async def test_pages_of_other_sites_cannot_use_a_session(self, site: Site) -> None:
        await site.served()
        asks = await self.edge.session(site.http)
        for asked in asks:
            assert (await site.ask(asked, Origin=EVIL)).status_code == 403
        assert site.office.notebook.notes == []
        assert (await site.ask(asks[0], Origin=OUR_PAGE)).status_code < 300
        assert site.office.notebook.notes == ["hello"]

    async def test_who_asks_and_leaves_at_once_does_no_harm(self, site: Site) -> None:
        served = await site.served()
        page = await site.visit()
        for asked in await self.edge.session(site.http):
            await served.ask_and_leave(asked)
            assert await page.call("desk", "sum", number1=1, number2=2) == 3

    async def test_somebody_else_cannot_use_a_session(self, site: Site) -> None:
        await site.served()
        asks = await self.edge.session(site.http)
        for user in ({"X_User": "mallory"}, {"X_User": "nobody"}, {"X_User": ""}):
            for asked in asks:
                status = (await site.ask(asked, **user)).status_code
                assert status in (401, 403, 404, 410)
        assert site.office.notebook.notes == []
        assert (await site.ask(asks[0])).status_code < 300
        assert site.office.notebook.notes == ["hello"]


def on(page: Page, channel: Any) -> list[Any]:
    """What a page has heard on a channel."""
    return [note["message"] for note in page.heard("pubsub") if note["channel"] == channel]


def answered_behind_its_publications(page: Page, author: str) -> bool:
    """Whether the answer to each call came behind what the call had published."""
    published: set[int] = set()
    answered = -3  # it has subscribed to three channels
    for service, message in page.received:
        if service == "pubsub" and not is_answer(message):
            who, number = message["message"]
            if who == author:
                published.add(number)
        elif service == "pubsub":
            if answered >= 0 and answered not in published:
                return False
            answered += 1
    return answered == len(published) == MESSAGES


def kind_of(message: Any) -> Any:
    """The number of a delta's row, or what else it is."""
    return message["delta"]["data"]["id"] if message["type"] == "delta" else message["type"]
