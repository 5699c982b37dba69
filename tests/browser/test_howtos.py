"""The how-tos that have a page, in a real browser. The help desk has a file of its own."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import REACT, ROOT, Windows, listens, wait_for
from tests.docs.debian_programs import program
from tests.docs.proxies import CADDY, NGINX, make_certificate
from tests.patience import patient
from tests.ports import free_port

EXAMPLES = ROOT / "docs" / "examples"
ESBUILD = ROOT / "client" / "node_modules" / ".bin" / "esbuild"
SECRETS = {"SNORKY_API_KEY": "swordfish", "TOKEN_SECRET": "only for tests, but 32 bytes long"}


@pytest.fixture
def open_windows(browser: Browser) -> Iterator[Callable[..., Windows]]:
    opened: list[Windows] = []

    def make(address: str) -> Windows:
        opened.append(Windows(browser, address))
        return opened[-1]

    yield make
    for windows in opened:
        windows.close()


def write(page: Page, text: str) -> None:
    page.get_by_label("Message").press_sequentially(text)


def test_the_others_see_who_is_writing(
    serve: Callable[..., Any], open_windows: Callable[..., Windows]
) -> None:
    folder = EXAMPLES / "typing"
    snorky = serve(folder / "live.py", "--page", str(folder / "page.html"))
    site = f"http://127.0.0.1:{snorky.port}/"
    windows = open_windows(site)
    windows.expect("404 (Not Found)")  # no icon
    ann, bob = windows.open(), windows.open()
    for page, name in ((ann, "ann"), (bob, "bob")):
        page.clock.install()
        page.goto(f"{site}?name={name}")
        page.wait_for_function("snorky.isConnected && typing")
    bob.evaluate("typing.enter({ room: 'tea' })")  # answered: so was the one before
    write(ann, "Hello")
    expect(bob.get_by_role("status")).to_have_text("ann is writing …")
    expect(ann.get_by_role("status")).to_have_text("")
    bob.clock.fast_forward(3000)
    expect(bob.get_by_role("status")).to_have_text("")
    ann.clock.fast_forward(2000)
    write(ann, "!")
    expect(bob.get_by_role("status")).to_have_text("ann is writing …")


@pytest.fixture
def static_site(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the origin that it is served at: another host name than 127.0.0.1."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    server = ThreadingHTTPServer(("127.0.0.1", free_port()), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield tmp_path, f"http://localhost:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_page_of_another_host_has_a_live_list(
    serve: Callable[..., Any],
    run_program: Callable[..., Any],
    open_windows: Callable[..., Windows],
    static_site: tuple[Path, str],
) -> None:
    folder, origin = static_site
    source = EXAMPLES / "another_host"
    snorky = serve(source / "live.py", PAGE=origin, **SECRETS)
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "api:app", "--port", str(port)]
    env = {**SECRETS, "SNORKY_BACKEND_URL": snorky.backend_url, "PAGE": origin}
    run_program(command, cwd=source, **env)
    text = (source / "index.html").read_text()
    text = text.replace("https://api.example.com", f"http://127.0.0.1:{port}")
    text = text.replace("https://live.example.com", f"http://127.0.0.1:{snorky.port}")
    text = text.replace("wss://live.example.com/ws", snorky.url)
    (folder / "index.html").write_text(text)
    wait_for(lambda: listens(port), "the API listens")

    windows = open_windows(f"{origin}/?name=ann")
    windows.expect("404")  # no icon
    one, two = windows.open(), windows.open()
    for page in (one, two):
        expect(page.get_by_role("status")).to_have_text("live")
    bob = open_windows(f"{origin}/?name=bob")
    bob.expect("404")
    other = bob.open()
    one.get_by_label("Note").fill("Milk")
    one.get_by_role("button").click()
    for page in (one, two):
        expect(page.get_by_role("listitem")).to_have_text(["Milk"])
    expect(other.get_by_role("status")).to_have_text("live")
    expect(other.get_by_role("listitem")).to_have_count(0)


@pytest.mark.parametrize("proxy", ["nginx", "caddy"])
def test_a_page_and_its_socket_come_by_tls_through_one_proxy(
    serve: Callable[..., Any],
    run_program: Callable[..., Any],
    browser: Browser,
    tmp_path: Path,
    static_site: tuple[Path, str],
    proxy: str,
) -> None:
    folder, origin = static_site
    shutil.copy(EXAMPLES / "wss" / "page.html", folder / "index.html")
    snorky = serve(EXAMPLES / "wss" / "live.py", "--trusted-proxy", "127.0.0.1")
    key, certificate = make_certificate(tmp_path)
    port = free_port()
    words = {
        "127.0.0.1:5001": f"127.0.0.1:{snorky.port}",
        "127.0.0.1:8000": origin.removeprefix("http://").replace("localhost", "127.0.0.1"),
    }
    if proxy == "nginx":
        words |= {"listen 443": f"listen 127.0.0.1:{port}"}
        words |= {
            f"/etc/ssl/www.example.com.{end}": str(file)
            for end, file in (("pem", certificate), ("key", key))
        }
        (tmp_path / "live.conf").write_text(changed("nginx.conf", words))
        (tmp_path / "nginx.conf").write_text(NGINX)
        command, env = program("nginx", "usr/sbin/nginx")
        arguments = ["-p", str(tmp_path), "-c", "nginx.conf", "-e", "stderr"]
    else:
        words |= {"www.example.com {": f"https://127.0.0.1:{port} {{\n\ttls {certificate} {key}"}
        (tmp_path / "Caddyfile").write_text(CADDY + changed("Caddyfile", words))
        command, env = program("caddy", "usr/bin/caddy")
        arguments = ["run", "--config", str(tmp_path / "Caddyfile")]
        env = {**env, "HOME": str(tmp_path)}
    running = run_program([command, *arguments], cwd=tmp_path, **env)
    wait_for(lambda: listens(port) or running.process.poll() is not None, "the proxy listens")

    page = browser.new_page(ignore_https_errors=True)  # the certificate is our own
    page.goto(f"https://127.0.0.1:{port}/")
    expect(page.get_by_role("status")).to_have_text("connected by websocket")
    assert page.evaluate("snorky.address") == f"wss://127.0.0.1:{port}/live/ws"
    page.evaluate("news.unsubscribe({ channel: 'all' })")
    page.evaluate("news.subscribe({ channel: 'all' })")  # answered: it is subscribed
    call = {"command": "publish", "params": {"channel": "all", "message": "Rain"}}
    httpx2.post(
        snorky.backend_url,
        headers={"X-Backend-Key": "swordfish"},
        json={"service": "news_backend", "message": call},
    ).raise_for_status()
    expect(page.get_by_role("listitem")).to_have_text(["Rain"])
    page.close()


def changed(file: str, words: dict[str, str]) -> str:
    text = (EXAMPLES / "wss" / file).read_text()
    for word, replacement in words.items():
        assert word in text
        text = text.replace(word, replacement)
    return text


def bundle(source: Path, target: Path, *options: str) -> None:
    always = ["--bundle", "--jsx=automatic", "--log-level=warning"]
    always += [f"--alias:snorky={ROOT / 'snorky/static/snorky.mjs'}"]
    subprocess.run(
        [str(ESBUILD), str(source), *always, *options, f"--outfile={target}"],
        cwd=REACT.parent,
        env={**os.environ, "NODE_PATH": str(REACT)},
        check=True,
        timeout=patient(60),
    )


def test_a_page_that_the_server_rendered_goes_on_live_without_another_request(
    run_program: Callable[..., Any], open_windows: Callable[..., Windows], tmp_path: Path
) -> None:
    site = shutil.copytree(EXAMPLES / "live_lists", tmp_path / "site")
    ports = [free_port(), free_port()]
    uvicorn = [sys.executable, "-m", "uvicorn", "live:app", "--port", str(ports[0])]
    application = run_program(uvicorn, cwd=site)
    source = shutil.copytree(EXAMPLES / "react_server", tmp_path / "pages")
    program_of_page = source / "main.jsx"
    program_of_page.write_text(program_of_page.read_text().replace("8000", str(ports[0])))
    bundle(
        source / "server.jsx",
        tmp_path / "server.mjs",
        "--platform=node",
        "--format=esm",
        "--banner:js=import { createRequire } from 'node:module';"
        "const require = createRequire(import.meta.url);",
    )
    bundle(
        program_of_page,
        tmp_path / "main.js",
        "--format=esm",
        '--define:process.env.NODE_ENV="development"',
    )
    env = {"SITE": f"http://127.0.0.1:{ports[0]}", "PORT": str(ports[1])}
    run_program(["node", "server.mjs"], cwd=tmp_path, **env)
    wait_for(lambda: all(map(listens, ports)), "both servers listen")
    address = f"http://127.0.0.1:{ports[1]}/"
    tasks = f"{address}api/tasks/"
    httpx2.post(tasks, json={"title": "<b>Write</b>"}).raise_for_status()

    rendered = httpx2.get(address)
    assert "<li>&lt;b&gt;Write&lt;/b&gt;</li>" in rendered.text
    assert rendered.headers["Cache-Control"] == "no-store, private"
    page = open_windows(address).open()  # which would complain of a page that is not as rendered
    page.wait_for_function("[...globalThis.snorkyOfThisPage.lists.values()][0].status === 'live'")
    httpx2.post(tasks, json={"title": "Read"}).raise_for_status()
    expect(page.get_by_role("listitem")).to_have_text(["<b>Write</b>", "Read"])
    asked = [line for line in application.lines if "GET /api/" in line]
    assert len(asked) == 2  # for the two renderings
    state = json.loads(page.locator("#state").text_content() or "")
    assert [row["title"] for row in state["rows"]] == ["<b>Write</b>"]
