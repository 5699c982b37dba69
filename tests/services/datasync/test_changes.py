"""Frames of changes: one entry, one frame, with what a page's items show now and show no more."""

from __future__ import annotations

from typing import Any

import pytest

from snorky.envelope import Envelope
from snorky.services.base import RPCError
from snorky.services.datasync import Dealer, FilterDealer, SubscriptionItem
from tests.services.datasync.wire import (
    ALL,
    Site,
    Tasks,
    delete,
    having,
    insert,
    is_in,
    is_out,
    reset,
    task,
    update,
)

OPEN, DONE = having("done", False), having("done", True)


@pytest.fixture
def site() -> Site:
    return Site()


def item_of(answer: Any) -> int:
    (item,) = answer["items"]
    assert isinstance(item, int)
    return item


def test_a_frame_is_one_entry_with_its_position(site: Site) -> None:
    page = site.page()
    item = item_of(page.open_one(site.token()))
    site.publish(insert(task(1)), insert(task(2)))

    assert page.frame == {
        "type": "changes",
        "position": site.head,
        "changes": [is_in(task(1), item), is_in(task(2), item)],
    }


def test_a_frame_names_the_keys_of_its_transactions(site: Site) -> None:
    page = site.page()
    page.open_one(site.token())
    position = site.publish(insert(task(1)), key="a key")

    frame = page.frame
    assert (frame["keys"], frame["position"]) == (["a key"], position)


def test_all_models_and_subscriptions_of_a_page_are_told_together(site: Site) -> None:
    page = site.page()
    tasks, done, people = (
        item_of(answer)
        for answer in page.open(site.token(), site.token(DONE), site.token(dealer="People"))
    )
    site.publish(
        insert(task(1, done=True)), insert({"id": 1}, model="Person"), insert(task(2, done=False))
    )

    assert page.frame["changes"] == [
        is_in(task(1, done=True), tasks, done),
        is_in({"id": 1}, people, model="Person"),
        is_in(task(2, done=False), tasks),
    ]


def test_a_row_that_moves_is_one_change(site: Site) -> None:
    page = site.page()
    of_open, of_done = (item_of(each) for each in page.open(site.token(OPEN), site.token(DONE)))
    site.publish(update(task(1, done=True), task(1, done=False)))

    assert page.changes == [is_in(task(1, done=True), of_done, out=[of_open])]


def test_a_row_that_leaves_is_told_by_its_key_alone(site: Site) -> None:
    page = site.page()
    item = item_of(page.open_one(site.token(OPEN)))
    site.publish(update(task(1, done=True, secret="x"), task(1, done=False)))
    site.publish(delete(task(2, done=False, secret="x")))

    assert page.changes == [is_out(1, item), is_out(2, item)]
    site.publish(update(task(1, done=True), task(1, done=True)))
    assert page.frames == []


def test_an_entry_is_told_as_a_whole(site: Site) -> None:
    """A row that was public for one statement is never shown."""
    page = site.page()
    item = item_of(page.open_one(site.token(OPEN)))
    site.publish(
        update(task(1, done=False), task(1, done=True)),
        update(task(1, done=True), task(1, done=False)),
        insert(task(2, done=False, n=1)),
        update(task(2, done=False, n=2), task(2, done=False, n=1)),
        insert(task(3, done=False)),
        delete(task(3, done=False)),
    )

    assert page.changes == [is_in(task(2, done=False, n=2), item)]


def test_an_update_that_changes_nothing_is_believed(site: Site) -> None:
    """Who publishes without knowing the old row says the new one twice."""
    page = site.page()
    item = item_of(page.open_one(site.token()))
    site.publish(update(task(1, n=2), task(1, n=2)))

    assert page.changes == [is_in(task(1, n=2), item)]


def test_a_row_that_changes_its_key_goes_and_comes(site: Site) -> None:
    page = site.page()
    item = item_of(page.open_one(site.token()))
    site.publish(update(task(2), task(1)))

    assert page.changes == [is_out(1, item), is_in(task(2), item)]


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [(1, 1.0, True), (1, "1", False), (1, True, False), ([1], [1.0], True), ("a", "A", False)],
)
def test_keys_are_compared_as_json(site: Site, first: Any, second: Any, same: bool) -> None:
    page = site.page()
    page.open_one(site.token())
    site.publish(insert({"id": first}), update({"id": second, "n": 2}, {"id": second}))

    assert len(page.changes) == (1 if same else 2)


def test_several_fields_may_be_the_key() -> None:
    class Seats(FilterDealer):
        model = "Seat"
        key = ("row", "number")

    site = Site(Seats)
    page = site.page()
    item = item_of(page.open_one(site.token(dealer="Seats")))
    seat = {"row": "A", "number": 1}
    site.publish(insert(seat, model="Seat"))

    assert page.changes == [
        {"model": "Seat", "key": ["A", 1], "data": seat, "in": [item], "out": []}
    ]


def test_dealers_of_a_model_have_one_key(site: Site) -> None:
    class Others(FilterDealer):
        model = "Task"
        key = "code"

    with pytest.raises(RuntimeError, match="dealers of model 'Task' must have the same key"):
        site.service.register_dealer(Others)


# What cannot be told


def test_a_reset_ends_the_lists_of_its_model_and_the_rest_is_told(site: Site) -> None:
    page = site.page()
    tasks, people = page.open(site.token(), site.token(dealer="People"))
    site.publish(insert(task(1)), reset(), insert({"id": 1}, model="Person"), insert(task(2)))
    ended, told = page.frames

    assert ended == {
        "type": "resync",
        "subscriptions": [tasks["subscription"]],
        "reason": "reset",
        "after_ms": 0,
    }
    assert told["changes"] == [is_in({"id": 1}, item_of(people), model="Person")]
    site.publish(insert(task(3)))
    assert page.frames == []


@pytest.mark.parametrize(
    "faulty",
    [
        insert({"title": "x"}),
        insert({"id": None}),
        update(task(1), {"title": "x"}),
        delete({}),
    ],
)
def test_a_row_without_its_key_is_a_reset(site: Site, faulty: Any, expect_log: Any) -> None:
    page = site.page()
    page.open_one(site.token())
    site.publish(faulty, insert(task(1)))

    assert page.frame["reason"] == "reset"
    expect_log("A row of model \"Task\" came without its key ('id',)")


def test_those_who_must_fetch_are_spread(site: Site) -> None:
    pages = [site.page() for _ in range(50)]
    for page in pages:
        page.open_one(site.token())
    site.publish(reset())
    waits = {page.frame["after_ms"] for page in pages}

    assert len(waits) > 5
    assert max(waits) < 50 * 2


async def test_a_dealer_that_fails_for_a_row_must_be_fetched(site: Site, expect_log: Any) -> None:
    """Whom it matched nobody knows: what its pages show cannot be promised."""

    class Strict(Dealer):
        model = "Task"

        def add_subscription_item(self, item: SubscriptionItem) -> None: ...
        def remove_subscription_item(self, item: SubscriptionItem) -> None: ...
        def get_subscription_items_for_model(self, row: Any) -> Any:
            raise KeyError("color")

    site.service.register_dealer(Strict)
    page = site.page()
    strict, tasks = page.open(site.token(dealer="Strict"), site.token())
    site.publish(insert(task(1)))
    ended, told = page.frames

    assert (ended["reason"], ended["subscriptions"]) == ("reset", [strict["subscription"]])
    assert told["changes"] == [is_in(task(1), item_of(tasks))]
    assert expect_log.all('Dealer "Strict" failed on a row of model "Task"') == 2


def test_lists_of_a_dealer_that_goes_must_be_fetched(site: Site) -> None:
    page = site.page()
    page.open_one(site.token())
    site.service.unregister_dealer(site.service.dealers["Tasks"])

    assert page.frame["reason"] == "reset"


# Dealers of a user's own


class ByColor(Dealer):
    """As users write them."""

    model = "Task"

    def __init__(self) -> None:
        self.items: list[SubscriptionItem] = []

    def add_subscription_item(self, item: SubscriptionItem) -> None:
        self.items.append(item)

    def remove_subscription_item(self, item: SubscriptionItem) -> None:
        self.items.remove(item)

    def get_subscription_items_for_model(self, row: Any) -> Any:
        return [item for item in self.items if item.query == row["color"]]


async def test_a_dealer_of_a_users_own_serves_pages(site: Site) -> None:
    dealer = site.service.register_dealer(ByColor())
    page, other = site.page(), site.page()
    token = site.token("blue", dealer="ByColor")
    assert len(dealer.items) == 1  # told of each item when it is authorised
    answer = page.open_one(token)
    assert len(dealer.items) == 1
    item = item_of(answer)
    assert item_of(other.open_one(site.token("blue", dealer="ByColor"))) == item
    site.publish(insert(task(1, color="blue")), insert(task(2, color="red")))

    assert page.changes == other.changes == [is_in(task(1, color="blue"), item)]
    page.leave()
    site.publish(update(task(1, color="red"), task(1, color="blue")))
    back = site.page().open_one(answer["token"], since=answer["position"])
    assert back["changes"] == [is_out(1, item)]


async def test_a_dealer_cannot_look_at_the_client_of_what_is_shared(
    site: Site, expect_log: Any
) -> None:
    class Muting(ByColor):
        def get_subscription_items_for_model(self, row: Any) -> Any:
            return [item for item in self.items if item.subscription.client is not None]

    site.service.register_dealer(Muting)
    page = site.page()
    page.open_one(site.token("blue", dealer="Muting"))
    site.publish(insert(task(1, color="blue")))

    assert page.frame["reason"] == "reset"
    assert expect_log.all('Dealer "Muting" failed on a row')


async def test_what_a_dealer_hides_reaches_no_page(site: Site) -> None:
    """It decides by itself what is delivered: its pages are told to fetch, and no rows."""

    class Anonymous(Tasks):
        name = "Anonymous"

        def deliver_delta(self, delta: Any) -> None:
            """Nobody hears of anything."""

    site.service.register_dealer(Anonymous)
    page = site.page()
    answer = page.open_one(site.token(dealer="Anonymous"))
    site.publish(insert(task(1, secret="x")))

    assert page.frame == {
        "type": "stale",
        "subscriptions": [answer["subscription"]],
        "position": site.head,
    }


# Fields


class Titles(FilterDealer):
    model = "Task"
    fields = ("title",)


class States(FilterDealer):
    model = "Task"
    fields = ("done",)


@pytest.fixture
def narrow() -> Site:
    return Site(Titles, States, Tasks)


def test_pages_see_the_fields_of_their_dealer_and_the_key(narrow: Site) -> None:
    page = narrow.page()
    token = narrow.token(dealer="Titles")
    narrow.publish(insert(task(1, title="a", secret="x")))
    answer = page.open_one(token)
    item = item_of(answer)
    narrow.publish(update(task(1, title="b", secret="x"), task(1, title="a", secret="x")))

    assert answer["changes"] == [is_in(task(1, title="a"), item)]
    assert page.changes == [is_in(task(1, title="b"), item)]


def test_rows_are_matched_whole(narrow: Site) -> None:
    page = narrow.page()
    item = item_of(page.open_one(narrow.token(having("secret", "x"), dealer="Titles")))
    narrow.publish(insert(task(1, title="a", secret="x")), insert(task(2, secret="y")))

    assert page.changes == [is_in(task(1, title="a"), item)]
    narrow.publish(update(task(1, title="a", secret="y"), task(1, title="a", secret="x")))
    assert page.changes == [is_out(1, item)]


def test_an_update_of_other_fields_is_not_told(narrow: Site) -> None:
    page, other = narrow.page(), narrow.page()
    page.open_one(narrow.token(dealer="Titles"))
    other.open_one(narrow.token())
    narrow.publish(update(task(1, title="a", n=2), task(1, title="a", n=1)))

    assert page.frames == []
    assert len(other.changes) == 1


@pytest.mark.parametrize(
    ("new", "old"),
    [
        (task(1, title="a"), task(1)),
        (task(1), task(1, title="a")),
        (task(1, title=1), task(1, title=True)),
        (task(1, title=[1]), task(1, title=[True])),
    ],
)
def test_a_field_that_comes_goes_or_changes_its_type_did_change(
    narrow: Site, new: Any, old: Any
) -> None:
    page = narrow.page()
    page.open_one(narrow.token(dealer="Titles"))
    narrow.publish(update(new, old))

    assert len(page.changes) == 1


def test_items_that_show_different_fields_get_a_change_each(narrow: Site) -> None:
    page = narrow.page()
    tokens = [
        narrow.token(dealer="Titles"),
        narrow.token(having("done", True), dealer="Titles"),
        narrow.token(having("done", True), dealer="States"),
        narrow.token(),
    ]
    titles, done_titles, states, tasks = (item_of(answer) for answer in page.open(*tokens))
    row = task(1, title="a", done=True, secret="x")
    narrow.publish(insert(row))
    assert sorted(page.changes, key=lambda change: str(change["in"])) == [
        is_in(task(1, title="a"), titles, done_titles),
        is_in(task(1, done=True), states),
        is_in(row, tasks),
    ]

    narrow.publish(update({**row, "done": False}, row))
    assert sorted(page.changes, key=lambda change: str(change["out"])) == [
        is_out(1, done_titles),
        is_out(1, states),
        is_in({**row, "done": False}, tasks),
    ]
    answer = narrow.page().open_one(tokens[0])
    (shown,) = answer["changes"]
    assert shown == is_in(task(1, title="a"), titles)


# Encoding


def test_pages_with_the_same_touched_items_share_one_frame(site: Site) -> None:
    class Collecting(type(site.page())):  # type: ignore[misc]
        """Keeps the envelopes themselves."""

        envelopes: list[Any] = []

        def send(self, msg: Any) -> None:
            super().send(msg)
            if type(msg) is Envelope:
                self.envelopes.append(msg)

    pages = [Collecting(site.service) for _ in range(6)]
    for number, page in enumerate(pages):
        page.open_one(site.token(OPEN))
        if number % 2:  # another whole set, the same touched items
            page.open_one(site.token(DONE))
    site.publish(insert(task(1, done=False)))

    assert len(Collecting.envelopes) == 6
    assert len({id(envelope) for envelope in Collecting.envelopes}) == 1


# Publishing


def test_an_entry_may_be_so_large(site: Site) -> None:
    page = site.page()
    page.open_one(site.token())
    with pytest.raises(RPCError, match=r"^Entry too large$"):
        site.publish(insert(task(1, text="x" * 1024 * 1024)))
    assert page.frames == []
    site.publish(insert(task(1, text="x" * 1000 * 1000)))
    assert len(page.changes) == 1


def test_the_same_key_publishes_once(site: Site) -> None:
    page = site.page()
    page.open_one(site.token())
    first = site.publish(insert(task(1)), key="a")
    assert site.publish(insert(task(1)), key="a") == first == site.head
    assert len(page.changes) == 1


def test_without_a_key_nothing_is_answered(site: Site) -> None:
    assert site.publish(insert(task(1))) is None


@pytest.mark.parametrize("key", ["", "x" * 201, 5, ["a"]])
def test_a_key_is_a_text_of_some_length(site: Site, key: Any) -> None:
    with pytest.raises(RPCError, match="key must be text of at most 200 characters"):
        site.publish(insert(task(1)), key=key)
    assert site.publish(insert(task(1)), key="x" * 200) is not None


def test_a_token_may_begin_earlier_than_it_was_asked_for(site: Site) -> None:
    after = site.head
    site.publish(insert(task(1)))
    token = site.token(after=after)

    assert [change["key"] for change in site.page().open_one(token)["changes"]] == [1]
    with pytest.raises(RPCError, match="after must be a position"):
        site.token(after="x")


def test_classic_pages_and_pages_of_the_new_wire_hear_side_by_side(site: Site) -> None:
    from snorky.testing import call

    classic, page = site.page(), site.page()
    call(site.service, classic, "acquireSubscription", token=site.token(ALL))
    page.open_one(site.token(ALL))
    deltas = [insert(task(1)), update(task(1, n=1), task(1)), delete(task(1, n=1))]
    site.publish(*deltas)

    assert [frame["delta"] for frame in classic.frames] == deltas
    assert page.frames == []
