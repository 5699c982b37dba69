"""Pages that ``snorky serve`` serves itself: the first one needs no other server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest
from click.testing import CliRunner

from snorky.cli import main
from snorky.cli.pages import MAX_BYTES_AT_ONCE

APP = "from snorky import ServiceRegistry\nfrontend = ServiceRegistry([])"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    (folder / "more").mkdir(parents=True)
    (folder / "index.html").write_text("<h1>first</h1>")
    (folder / "more" / "a.css").write_text("b {}")
    (folder / "live.py").write_text("api_key = 'secret'")
    (folder / ".env").write_text("secret")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("secret")
    (folder / "out").symlink_to(tmp_path)
    (tmp_path / "secret.txt").write_text("secret")
    return folder


def test_a_page_is_at_the_root_and_nothing_beside_it(app: Any, serve: Any, site: Path) -> None:
    server = serve(app(APP), "--page", str(site / "index.html"))
    server.wait_for(rf"Open http://localhost:{server.port}/$")
    url = f"http://127.0.0.1:{server.port}"
    page = httpx2.get(url)
    assert (page.status_code, page.text) == (200, "<h1>first</h1>")
    assert page.headers["content-type"] == "text/html; charset=UTF-8"
    assert httpx2.get(f"{url}/index.html").status_code == 404
    assert httpx2.get(f"{url}/live.py").status_code == 404
    assert httpx2.get(f"{url}/static/snorky.js").status_code == 200


def test_a_page_that_was_changed_is_the_new_one(app: Any, serve: Any, site: Path) -> None:
    for pages in (site, site / "index.html"):
        (site / "index.html").write_text("<h1>first</h1>")
        url = f"http://127.0.0.1:{serve(app(APP), '--page', str(pages)).port}/"
        first = httpx2.get(url)
        kept = {"If-None-Match": first.headers["etag"]}
        assert httpx2.get(url, headers=kept).status_code == 304
        (site / "index.html").write_text("<h1>second</h1>")
        assert httpx2.get(url, headers=kept).text == "<h1>second</h1>"


def test_a_folder_is_served_but_for_what_is_hidden_and_programs(
    app: Any, serve: Any, site: Path
) -> None:
    (site / "big.bin").write_bytes(bytes(MAX_BYTES_AT_ONCE) + b"end")
    server = serve(app(APP), "--page", str(site))
    url = f"http://127.0.0.1:{server.port}"
    assert httpx2.get(url).text == "<h1>first</h1>"
    assert httpx2.get(f"{url}/more/a.css").headers["content-type"] == "text/css"
    assert httpx2.get(f"{url}/big.bin").content.endswith(b"\0end")
    assert httpx2.get(f"{url}/big.bin", headers={"Range": "bytes=-3"}).content == b"end"
    assert httpx2.get(f"{url}/live").json() == {"status": "live"}
    for path in (
        "/live.py",
        "/.env",
        "/.git/config",
        "/out/secret.txt",
        "/%2e%2e/secret.txt",
        "/more/../../secret.txt",
        "/nothing",
    ):
        answer = httpx2.get(url + path)
        assert answer.status_code in (403, 404), path
        assert "secret" not in answer.text


def test_a_folder_without_a_first_page_is_refused(app: Any, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["serve", str(app(APP)), "--page", str(tmp_path)])
    assert result.exit_code == 1
    assert "without an index.html" in result.output
