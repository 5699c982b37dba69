"""The page of the manual's events project, in a real browser, with two sessions."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, expect
from websockets.sync.client import connect

from tests.patience import patient

EXAMPLE = Path(__file__).parent.parent.parent / "docs" / "examples" / "events"
ENV = {"SNORKY_API_KEY": "swordfish"}


def test_the_page_that_started_a_job_sees_its_progress(
    browser: Browser,
    serve: Callable[..., Any],
    run_program: Callable[..., Any],
    tmp_path: Path,
) -> None:
    snorky = serve(EXAMPLE / "live.py")
    folder = tmp_path / "project"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("jobs/settings.py", "jobs/templates/job.html"):
        text = (folder / file).read_text().replace("localhost:5001", f"127.0.0.1:{snorky.port}")
        (folder / file).write_text(text.replace("5002", str(snorky.backend_port)))
    command = [sys.executable, "manage.py", "runserver", "--noreload", "127.0.0.1:0"]
    django = run_program(command, cwd=folder, **ENV)
    port = django.wait_for(r"server at http://127\.0\.0\.1:(\d+)/")[1]

    pages = [browser.new_context().new_page() for _ in range(2)]
    for page in pages:
        with page.expect_response(re.compile("/events/connect/")) as connected:
            page.goto(f"http://127.0.0.1:{port}/")
        assert connected.value.status == 204
    bars = [page.get_by_role("progressbar", name="Progress") for page in pages]
    pages[0].get_by_role("button", name="Start").click()
    expect(bars[0]).to_have_js_property("value", 100, timeout=patient(30_000))
    expect(bars[1]).to_have_js_property("value", 0)
    for page in pages:
        page.context.close()


def test_a_job_in_snorkys_own_program(serve: Callable[..., Any]) -> None:
    program = serve(EXAMPLE / "in_program.py")
    with connect(program.url) as socket:
        message = {"command": "make", "params": {"number": 7}, "callId": 1}
        socket.send(json.dumps({"service": "reports", "message": message}))
        answer = json.loads(socket.recv(timeout=patient(20)))["message"]
    assert answer == {"type": "response", "callId": 1, "data": None}
    program.wait_for("^/reports/7 100$")
    heard = [line for line in program.lines if line.startswith("/reports")]
    assert heard == [f"/reports/7 {percent}" for percent in (0, 25, 50, 75, 100)]
