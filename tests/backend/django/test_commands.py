"""``manage.py snorky_reset`` and ``snorky_refresh``."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings


def run(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def test_a_reset_is_published(snorky):
    assert run("snorky_reset", "Task", "taskapp.Country") == "Pages of Task, Country fetch anew.\n"
    assert snorky.requests[0].params["deltas"] == [
        {"type": "reset", "model": "Task"},
        {"type": "reset", "model": "Country"},
    ]


def test_a_refresh_is_asked_for_by_the_name_in_subscriptions(snorky):
    assert run("snorky_refresh", "taskapp.Ticket") == "Pages of WorkTicket fetch again.\n"
    assert snorky.commands() == ["refreshSubscriptions"]
    assert snorky.requests[0].params == {"models": ["WorkTicket"]}


@pytest.mark.parametrize("command", ["snorky_reset", "snorky_refresh"])
@pytest.mark.parametrize(
    ("model", "text"),
    [
        ("Tsak", "No subscribable model is called Tsak; expected one of .*Task.* or app.Model"),
        ("taskapp.Tsak", "There is no model taskapp.Tsak"),
        ("a.b.c", "There is no model a.b.c"),
    ],
)
def test_an_unknown_model_is_refused(snorky, command, model, text):
    with pytest.raises(CommandError, match=text):
        run(command, model)
    assert snorky.requests == []


@pytest.mark.parametrize("command", ["snorky_reset", "snorky_refresh"])
def test_an_outage_fails_the_command(nobody, command):
    with (
        override_settings(SNORKY_BACKEND_URL=nobody, SNORKY_API_KEY="swordfish"),
        pytest.raises(CommandError, match="No answer from Snorky"),
    ):
        run(command, "Task")
