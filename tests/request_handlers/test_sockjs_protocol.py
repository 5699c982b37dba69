"""What sockjs-protocol 0.3.3 asks of a server over HTTP, transport by transport."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from snorky import ServiceRegistry
from tests.request_handlers.sockjs_site import SockJSEcho, SockJSSite, protocol_site

SCRIPT = "application/javascript; charset=UTF-8"
TEXT = "text/plain; charset=UTF-8"
FORM = "application/x-www-form-urlencoded"
NOT_CACHED = "no-store, no-cache, no-transform, must-revalidate, max-age=0"


@pytest.fixture
async def site(listen: Any) -> AsyncIterator[SockJSSite]:
    async with protocol_site(listen) as site:
        yield site


def is_cacheable(response: Any) -> bool:
    return (
        re.search("public", response.headers["Cache-Control"]) is not None
        and re.search("max-age=[1-9][0-9]{6}", response.headers["Cache-Control"]) is not None
        and bool(response.headers["Expires"])
    )


def is_not_cached(response: Any) -> bool:
    headers = response.headers
    return (
        headers["Cache-Control"] == NOT_CACHED
        and "Expires" not in headers
        and "Last-Modified" not in headers
    )


def readable_by(response: Any) -> str | None:
    """The pages that may read a response, if browsers may send cookies with the request."""
    assert response.headers["Access-Control-Allow-Credentials"] == "true"
    value: str | None = response.headers["Access-Control-Allow-Origin"]
    return value


# Greeting, iframe, info


async def test_the_greeting(site: SockJSSite) -> None:
    for path in ("/echo", "/echo/"):
        response = await site.get(path)
        assert (response.status_code, response.text) == (200, "Welcome to SockJS!\n")
        assert response.headers["Content-Type"] == TEXT
        assert "Set-Cookie" not in response.headers


@pytest.mark.parametrize(
    "path",
    [
        *("/a", "/a.html", "//", "///", "/a/a", "/a/a/", "/a/", "/iframe.htm", "/iframe"),
        *("/IFRAME.HTML", "/IFRAME", "/iframe.HTML", "/iframe.xml", "/iframe-/.html"),
        *("///xhr", "//xhr", "/a./a/xhr", "/a/a./xhr", "/././/xhr"),
    ],
)
async def test_other_addresses_are_not_found(site: SockJSSite, path: str) -> None:
    assert (await site.get("/echo" + path)).status_code == 404
    assert (await site.post("/echo" + path)).status_code == 404


async def test_the_id_of_a_session_is_bounded(site: SockJSSite) -> None:
    assert (await site.post(f"/echo/a/{'a' * 129}/xhr")).status_code == 404
    assert (await site.post(f"/echo/{'a' * 129}/a/xhr")).status_code == 404
    assert await site.poll(f"/echo/{'a' * 128}/{'a' * 128}") == "o\n"


@pytest.mark.parametrize(
    "name",
    [
        *("iframe.html", "iframe-a.html", "iframe-.html", "iframe-0.1.2.html"),
        *("iframe-a.html?t=1234", "iframe-0.1.2abc-dirty.2144.html?t=qweqweq123"),
    ],
)
async def test_the_iframe_page(site: SockJSSite, name: str) -> None:
    response = await site.get(f"/echo/{name}")

    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/html; charset=UTF-8"
    assert is_cacheable(response)
    assert "Last-Modified" not in response.headers
    assert "Set-Cookie" not in response.headers
    found = re.search(r'<script src="([^"]*)"></script>', response.text)
    assert found is not None
    assert found[1].startswith("https://")
    assert "SockJS.bootstrap_iframe();" in response.text


async def test_the_iframe_page_is_sent_once(site: SockJSSite) -> None:
    etag = (await site.get("/echo/iframe.html")).headers["ETag"]
    again = await site.get("/echo/iframe.html", If_None_Match=etag)

    assert (again.status_code, again.content) == (304, b"")
    assert "Content-Type" not in again.headers


async def test_what_the_server_can_do(site: SockJSSite) -> None:
    response = await site.get("/echo/info")
    other = await site.get("/echo/info")

    assert response.headers["Content-Type"] == "application/json; charset=UTF-8"
    assert is_not_cached(response)
    assert readable_by(response) == "*"
    info = response.json()
    entropy = info.pop("entropy")
    assert info == {"websocket": True, "cookie_needed": False, "origins": ["*:*"]}
    assert 0 <= entropy < 2**32
    assert entropy != other.json()["entropy"]
    assert (await site.get("/wsoff/info")).json()["websocket"] is False
    assert (await site.get("/cookie/info")).json()["cookie_needed"] is True


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/info", "OPTIONS, GET"),
        ("/abc/abc/xhr", "OPTIONS, POST"),
        ("/abc/abc/xhr_send", "OPTIONS, POST"),
        ("/abc/abc/xhr_streaming", "OPTIONS, POST"),
    ],
)
@pytest.mark.parametrize("origin", [None, "test", "null"])
async def test_browsers_may_ask_first(
    site: SockJSSite, path: str, methods: str, origin: str | None
) -> None:
    headers = {} if origin is None else {"Origin": origin}
    response = await site.ask("OPTIONS", "/echo" + path, **headers)

    assert (response.status_code, response.content) == (204, b"")
    assert is_cacheable(response)
    assert int(response.headers["Access-Control-Max-Age"]) > 1_000_000
    assert response.headers["Access-Control-Allow-Methods"] == methods
    assert readable_by(response) == ("test" if origin == "test" else "*")
    assert response.headers["Vary"] == "Origin"


# Sessions


@pytest.mark.parametrize("path", ["/a/a", "/_/_", "/1/1", "/abcdefgh_i-j%20/abcdefg_i-j%20"])
async def test_any_server_and_session_will_do(site: SockJSSite, path: str) -> None:
    assert await site.poll("/echo" + path) == "o\n"


async def test_a_session_is_known_by_its_id_alone(site: SockJSSite) -> None:
    assert await site.poll("/echo/000/one") == "o\n"
    await site.send("/echo/000/one", "a")
    assert await site.poll("/echo/999/one") == 'a["a"]\n'


async def test_only_one_request_may_wait(site: SockJSSite) -> None:
    session = await site.open_session()
    _, waiting = await site.raw_request(session + "/xhr")
    await site.until_waiting(session)
    async with site.streaming("POST", session + "/xhr_streaming") as refused:
        await refused.frame()
        assert await refused.end() == 'c[2010,"Another connection still open"]\n'
    waiting.close()
    await waiting.wait_closed()


async def test_a_closed_session_says_so_to_whoever_asks(site: SockJSSite) -> None:
    session = await site.open_session("/close")

    assert await site.poll(session) == 'c[3000,"Go away!"]\n'
    assert await site.poll(session) == 'c[3000,"Go away!"]\n'
    assert (await site.post(session + "/xhr_send", '["x"]')).status_code == 404


@pytest.mark.parametrize("transport", ["xhr", "xhr_streaming"])
async def test_a_session_whose_request_broke_off_is_closed(
    site: SockJSSite, transport: str
) -> None:
    session = await site.open_session()
    _, writer = await site.raw_request(f"{session}/{transport}")
    await site.until_waiting(session)
    writer.close()
    await writer.wait_closed()
    while (answer := await site.poll(session)).startswith("c[2010"):
        pass

    assert answer == 'c[1002,"Connection interrupted"]\n'


# XHR


async def test_xhr_polling(site: SockJSSite) -> None:
    session = site.new_session()
    opened = await site.post(session + "/xhr")
    assert (opened.text, opened.headers["Content-Type"]) == ("o\n", SCRIPT)
    assert readable_by(opened) == "*"
    assert is_not_cached(opened)

    sent = await site.post(session + "/xhr_send", '["x", "y"]')
    assert (sent.status_code, sent.content) == (204, b"")
    assert sent.headers["Content-Type"] == TEXT
    assert readable_by(sent) == "*"
    assert is_not_cached(sent)
    assert await site.poll(session) == 'a["x","y"]\n'


async def test_nothing_can_be_sent_to_an_unknown_session(site: SockJSSite) -> None:
    response = await site.post("/echo/000/nobody/xhr_send", '["x"]')

    assert response.status_code == 404
    assert readable_by(response) == "*"


@pytest.mark.parametrize("payload", ['["x', "[", "x", '["x"] y', '{"a": }', "\xff"])
async def test_what_is_no_json_is_refused(site: SockJSSite, payload: str, expect_log: Any) -> None:
    session = await site.open_session()
    response = await site.post(session + "/xhr_send", payload.encode("latin-1"))

    assert (response.status_code, response.text) == (500, "Broken JSON encoding.")
    expect_log("Broken JSON encoding.")
    await site.send(session, "a")
    assert await site.poll(session) == 'a["a"]\n'


@pytest.mark.parametrize("payload", ["", "{}", "1", "null", "[1]", '[["x"]]', '["x", null]'])
async def test_what_holds_no_messages_is_refused(
    site: SockJSSite, payload: str, expect_log: Any
) -> None:
    session = await site.open_session()
    response = await site.post(session + "/xhr_send", payload)

    assert (response.status_code, response.text) == (500, "Payload expected.")
    expect_log("Payload expected.")
    await site.send(session, "a")
    assert await site.poll(session) == 'a["a"]\n'


async def test_the_content_type_does_not_matter(site: SockJSSite) -> None:
    session = await site.open_session()
    types = ["text/plain", "T", "application/json", "application/xml", "", "text/xml; charset=u"]
    for content_type in types:
        await site.send(session, "a", Content_Type=content_type)

    assert await site.poll(session) == "a[" + ",".join(['"a"'] * len(types)) + "]\n"


async def test_headers_that_a_page_asks_for_are_allowed(site: SockJSSite) -> None:
    asked = await site.post(site.new_session() + "/xhr", Access_Control_Request_Headers="a, b, c")
    silent = await site.post(site.new_session() + "/xhr", Access_Control_Request_Headers="")

    assert asked.headers["Access-Control-Allow-Headers"] == "a, b, c"
    assert "Access-Control-Allow-Headers" not in silent.headers


async def test_xhr_streaming(site: SockJSSite) -> None:
    session = site.new_session()
    async with site.streaming("POST", session + "/xhr_streaming") as stream:
        assert stream.response.headers["Content-Type"] == SCRIPT
        assert readable_by(stream.response) == "*"
        assert is_not_cached(stream.response)
        assert await stream.frame() == "h" * 2048 + "\n"
        assert await stream.frame() == "o\n"
        await site.send(session, "x")
        assert await stream.frame() == 'a["x"]\n'


async def test_a_streaming_response_ends_after_its_limit(site: SockJSSite) -> None:
    session = site.new_session()
    async with site.streaming("POST", session + "/xhr_streaming") as stream:
        await stream.frame()
        assert await stream.frame() == "o\n"
        for _ in range(31):
            await site.send(session, "x" * 128)
            assert await stream.frame() == 'a["' + "x" * 128 + '"]\n'
        assert await stream.end() == ""
    await site.send(session, "next")
    assert await site.poll(session) == 'a["next"]\n'


# EventSource, htmlfile, JSONP


async def test_eventsource(site: SockJSSite) -> None:
    session = site.new_session()
    end = b"\r\n\r\n"
    async with site.streaming("GET", session + "/eventsource") as stream:
        assert stream.response.headers["Content-Type"] == "text/event-stream; charset=UTF-8"
        assert is_not_cached(stream.response)
        assert await stream.frame(b"\r\n") == "\r\n"
        assert await stream.frame(end) == "data: o\r\n\r\n"
        await site.send(session, "x")
        assert await stream.frame(end) == 'data: a["x"]\r\n\r\n'
        await site.send(session, "  \0\n\r ")
        assert await stream.frame(end) == 'data: a["  \\u0000\\n\\r "]\r\n\r\n'
        await site.send(session, "100%41")  # the client decodes percent signs
        assert await stream.frame(end) == 'data: a["100%2541"]\r\n\r\n'
        await site.send(session, "x" * 4096)
        await stream.frame(end)
        assert await stream.end() == ""


async def test_htmlfile(site: SockJSSite) -> None:
    session = site.new_session()
    end = b"</script>\r\n"
    async with site.streaming("GET", session + "/htmlfile?c=%63allback") as stream:
        assert stream.response.headers["Content-Type"] == "text/html; charset=UTF-8"
        assert is_not_cached(stream.response)
        page = await stream.frame(b"\r\n\r\n")
        assert len(page) > 1024
        assert "var c = parent.callback;" in page
        assert await stream.frame(end) == '<script>\np("o");\n</script>\r\n'
        await site.send(session, "x")
        assert await stream.frame(end) == '<script>\np("a[\\"x\\"]");\n</script>\r\n'
        await site.send(session, "</script><!--")
        assert await stream.frame(end) == (
            '<script>\np("a[\\"\\u003c/script>\\u003c!--\\"]");\n</script>\r\n'
        )
        await site.send(session, "x" * 4096)
        await stream.frame(end)
        assert await stream.end() == ""


@pytest.mark.parametrize("transport", ["htmlfile", "jsonp"])
async def test_a_callback_is_the_name_of_a_function(site: SockJSSite, transport: str) -> None:
    missing = await site.get(f"/echo/a/a/{transport}")
    assert (missing.status_code, missing.text) == (500, '"callback" parameter required')
    for callback in ("alert(1)//", "a;b", "<script>", "x" * 129, "a%0ab", "é", "%20", "a%20"):
        invalid = await site.get(f"/echo/a/a/{transport}?c={callback}")
        assert (invalid.status_code, invalid.text) == (500, 'invalid "callback" parameter')


async def test_jsonp(site: SockJSSite) -> None:
    session = site.new_session()
    opened = await site.get(session + "/jsonp?c=%63allback")
    assert (opened.text, opened.headers["Content-Type"]) == ('callback("o");\r\n', SCRIPT)
    assert is_not_cached(opened)
    assert opened.headers["X-Content-Type-Options"] == "nosniff"

    sent = await site.post(session + "/jsonp_send", "d=%5B%22x%22%5D", Content_Type=FORM)
    assert (sent.status_code, sent.text, sent.headers["Content-Type"]) == (200, "ok", TEXT)
    assert is_not_cached(sent)
    plain = await site.post(session + "/jsonp_send", '["%61bc"]', Content_Type="text/plain")
    assert plain.text == "ok"
    # Frames are never "not modified".
    received = await site.get(session + "/jsonp?c=x", If_None_Match="*")
    assert (received.status_code, received.text) == (200, 'x("a[\\"x\\",\\"%61bc\\"]");\r\n')


@pytest.mark.parametrize(
    ("form", "fault"),
    [
        ("d=%5B%22x", "Broken JSON encoding."),
        ("", "Payload expected."),
        ("d=", "Payload expected."),
        ("p=p", "Payload expected."),
        ("d=1&" * 101, "Payload expected."),
    ],
)
async def test_a_broken_form_is_refused(
    site: SockJSSite, form: str, fault: str, expect_log: Any
) -> None:
    session = site.new_session()
    await site.get(session + "/jsonp?c=x")
    response = await site.post(session + "/jsonp_send", form, Content_Type=FORM)

    assert (response.status_code, response.text) == (500, fault)
    expect_log(fault)
    await site.post(session + "/jsonp_send", "d=%5B%22b%22%5D", Content_Type=FORM)
    assert (await site.get(session + "/jsonp?c=x")).text == 'x("a[\\"b\\"]");\r\n'


async def test_jsonp_says_goodbye(site: SockJSSite) -> None:
    session = site.new_session("/close")
    assert (await site.get(session + "/jsonp?c=x")).text == 'x("o");\r\n'
    for _ in range(2):
        assert (await site.get(session + "/jsonp?c=x")).text == ('x("c[3000,\\"Go away!\\"]");\r\n')


# JSESSIONID, encoding, HTTP


@pytest.mark.parametrize(
    ("method", "transport"),
    [("POST", "xhr"), ("POST", "xhr_streaming"), ("GET", "eventsource"), ("GET", "jsonp?c=x")],
)
async def test_a_cookie_for_load_balancers(site: SockJSSite, method: str, transport: str) -> None:
    session = site.new_session("/cookie")
    async with site.streaming(method, f"{session}/{transport}") as stream:
        assert stream.response.headers["Set-Cookie"] == "JSESSIONID=dummy; Path=/"
    session = site.new_session("/cookie")
    async with site.streaming(method, f"{session}/{transport}", Cookie="JSESSIONID=a") as stream:
        assert stream.response.headers["Set-Cookie"] == "JSESSIONID=a; Path=/"
    async with site.streaming(method, f"{site.new_session()}/{transport}") as stream:
        assert "Set-Cookie" not in stream.response.headers


async def test_over_tls_the_cookie_reaches_pages_of_other_sites(
    site: SockJSSite, certificate: Any
) -> None:
    await site.http.aclose()
    routes = SockJSEcho.get_routes(ServiceRegistry(), "/tls", jsessionid=True)
    site.serve(*routes, certificate=certificate)
    session = site.new_session("/tls")
    async with site.streaming("POST", session + "/xhr_streaming") as stream:
        cookie = stream.response.headers["Set-Cookie"]
        assert cookie == "JSESSIONID=dummy; Path=/; SameSite=None; Secure"
        await stream.frame()
        assert await stream.frame() == "o\n"
        await site.send(session, "x" * 10_000)
        assert await stream.frame() == 'a["' + "x" * 10_000 + '"]\n'


async def test_what_browsers_mangle_is_escaped(site: SockJSSite) -> None:
    mangled = [*range(0x20), *range(0x200C, 0x2010), *range(0x2028, 0x2030)]
    mangled += [*range(0x2060, 0x2070), *range(0xFFF0, 0x10000)]
    text = "".join(map(chr, mangled)) + "¡ñ→😀"
    session = await site.open_session()
    await site.send(session, text)
    received = await site.poll(session)

    assert json.loads(received[1:]) == [text]
    assert [chr(code) for code in mangled if chr(code) in received[:-1]] == []
    assert "¡ñ→😀" in received
    assert "\\u2028\\u2029" in received


async def test_half_of_an_emoji_comes_back(site: SockJSSite) -> None:
    session = await site.open_session()
    await site.send(session, "half \ud83d")
    assert await site.poll(session) == 'a["half \\ud83d"]\n'


async def test_http_1_0_gets_no_chunks(site: SockJSSite) -> None:
    path = site.new_session("/close") + "/xhr_streaming"
    reader, writer = await site.raw_request(path, version="1.0")
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    await writer.wait_closed()

    assert "Transfer-Encoding" not in head
    assert "Content-Length" not in head
    assert body == "h" * 2048 + '\no\nc[3000,"Go away!"]\n'
