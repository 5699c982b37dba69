"""The pages about what travels show what travels."""

from __future__ import annotations

import pytest

from tests.conftest import ExpectLog
from tests.docs.captures import CONVERSATIONS, captured, page_of

REFUSED = {
    "protocol": ["Invalid params"],
    "services": [],
    "datasync": [],
    "websocket": ["GET /ws 403", "GET /ws 401"],
    "sockjs": ["404 POST", "Broken JSON encoding.", "500 POST"],
    "socketio": ["400 GET"],
    "server-sent-events": ["POST /comet 401", "GET /comet/poll 410"],
    "long-polling": ["POST /comet 401", "GET /comet/poll 410"],
    "http-back-end": [
        *("Missing X-Backend-Key header", "Invalid API key", "Invalid JSON"),
        *("Message for non existing service", "POST /backend 401", "POST /backend 401"),
        *("POST /backend 400", "POST /backend 400"),
    ],
}
"""What the log has of the refusals that the pages show."""


@pytest.mark.usefixtures("refused_pages")
@pytest.mark.parametrize("page", CONVERSATIONS)
@pytest.mark.usefixtures("each_fanout")
async def test_the_captures_on_a_page_are_what_the_server_says_today(
    page: str, expect_log: ExpectLog
) -> None:
    assert page_of(page).read_text() == await captured(page), (
        f"{page}.md is out of date: python -m tests.docs.captures"
    )
    for line in REFUSED[page]:
        expect_log(line)
