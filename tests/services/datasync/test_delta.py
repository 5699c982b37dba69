from __future__ import annotations

from typing import Any

import pytest

from snorky.services.datasync import DeletionDelta, Delta, InsertionDelta, UpdateDelta
from snorky.services.datasync.delta import BadDelta, parse_delta

ALICE = {"id": 1, "name": "Alice"}
BOB = {"id": 1, "name": "Bob"}


@pytest.mark.parametrize(
    ("delta", "json"),
    [
        (InsertionDelta("P", ALICE), {"type": "insert", "model": "P", "data": ALICE}),
        (DeletionDelta("P", ALICE), {"type": "delete", "model": "P", "data": ALICE}),
        (
            UpdateDelta("P", BOB, ALICE),
            {"type": "update", "model": "P", "newData": BOB, "oldData": ALICE},
        ),
    ],
)
def test_a_delta_becomes_json_and_comes_back(delta: Delta, json: dict[str, Any]) -> None:
    assert delta.for_json() == json
    assert parse_delta(json) == delta


def test_the_arguments_are_keywords_and_attributes() -> None:
    update = UpdateDelta(model="P", new_data=BOB, old_data=ALICE)
    assert (update.model, update.new_data, update.old_data) == ("P", BOB, ALICE)
    for kind in (InsertionDelta, DeletionDelta):
        delta = kind(model="P", data=ALICE)
        assert (delta.model, delta.data) == ("P", ALICE)


def test_deltas_are_equal_when_kind_model_and_rows_are() -> None:
    assert InsertionDelta("P", dict(ALICE)) == InsertionDelta("P", dict(ALICE))
    assert InsertionDelta("P", ALICE) != DeletionDelta("P", ALICE)  # type: ignore[comparison-overlap]
    assert InsertionDelta("P", ALICE) != InsertionDelta("Q", ALICE)
    assert InsertionDelta("P", ALICE) != InsertionDelta("P", BOB)
    assert UpdateDelta("P", BOB, ALICE) != UpdateDelta("P", ALICE, BOB)


def test_a_delta_of_no_kind_cannot_be_made() -> None:
    with pytest.raises(TypeError):
        Delta()  # type: ignore[abstract]


def test_other_fields_are_dropped() -> None:
    delta = parse_delta({"type": "insert", "model": "P", "data": ALICE, "tag": "x", "newData": 1})
    assert delta.for_json() == {"type": "insert", "model": "P", "data": ALICE}


@pytest.mark.parametrize(
    ("json", "error"),
    [
        ({"model": "P", "data": {}}, "Missing field 'type'"),
        ({"type": "insert", "data": {}}, "Missing field 'model'"),
        ({"type": "insert", "model": "P"}, "Missing field 'data'"),
        ({"type": "delete", "model": "P", "newData": {}}, "Missing field 'data'"),
        ({"type": "update", "model": "P", "oldData": {}}, "Missing field 'newData'"),
        ({"type": "update", "model": "P", "newData": {}}, "Missing field 'oldData'"),
        ({"type": "insert", "model": 5, "data": {}}, "model must be string"),
        ({"type": "insert", "model": None, "data": {}}, "model must be string"),
        ({"type": "upsert", "model": "P", "data": {}}, "Invalid delta type"),
        ({"type": ["insert"], "model": "P", "data": {}}, "Invalid delta type"),
        ({"type": "insert", "model": "P", "data": [1]}, "data must be object"),
        ({"type": "update", "model": "P", "newData": {}, "oldData": 1}, "oldData must be object"),
        ("insert", "Missing field 'type'"),
        (None, "Missing field 'type'"),
    ],
)
def test_what_is_no_delta_is_refused_by_name_of_its_fault(json: Any, error: str) -> None:
    with pytest.raises(BadDelta) as refusal:
        parse_delta(json)
    assert str(refusal.value) == error
