"""From which pages one may connect, and what a handshake says."""

from collections.abc import Sequence

import pytest
from tornado.httputil import HTTPHeaders

from snorky.identity import Handshake, Refused, origin_allowed
from snorky.identity.origins import host_allowed


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://example.com", "example.com"),
        ("http://example.com:8000", "example.com:5001"),
        ("https://example.com", "example.com:5001"),
        ("http://EXAMPLE.com", "Example.COM:5001"),
        ("http://example.com", "example.com."),
        ("http://localhost:8000", "localhost:5001"),
        ("http://192.0.2.1:8000", "192.0.2.1:5001"),
        ("http://[::1]:8000", "[::1]:5001"),
        ("http://[2001:db8::1]", "[2001:db8::1]"),
        ("http://[2001:db8::1]", "[2001:DB8::1]:80"),
        ("http://xn--bcher-kva.example", "xn--bcher-kva.example:5001"),
    ],
)
def test_pages_of_the_same_host_name_may_connect_whatever_their_port(
    origin: str, host: str
) -> None:
    assert origin_allowed(origin, host)
    assert origin_allowed(origin, host, [])
    assert origin_allowed(origin, host, ["https://other.example"])


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://evil.example", "example.com"),
        ("http://www.example.com", "example.com"),
        ("http://example.com", "www.example.com"),
        ("http://example.com.evil.example", "example.com"),
        ("http://notexample.com", "example.com"),
        ("http://127.0.0.1:8000", "localhost:8000"),
        ("http://[::1]:8000", "[::2]:8000"),
        ("http://example.com", ""),
        ("http://", ""),
        ("", ""),
        ("", "example.com"),
    ],
)
def test_pages_of_other_hosts_may_not(origin: str, host: str) -> None:
    assert not origin_allowed(origin, host)
    assert not origin_allowed(origin, host, [])


@pytest.mark.parametrize(
    "origin",
    [
        "example.com",
        "//example.com",
        "http:example.com",
        "http://user@example.com",
        "http://evil.example@example.com",
        "http://example.com@evil.example",
        "http://evil.example\\@example.com",
        "http://example.com/path",
        "http://example.com?query",
        "http://example.com#fragment",
        "http://example.com:port",
        "http://example.com:80:80",
        "http://example.com, http://evil.example",
        "http://evil.example,http://example.com",
        "http://exam\tple.com",
        "http://example.com\r\n",
        " http://example.com",
        "http://[::1",
        "http://[example.com]",
        "javascript:alert(1)",
        "null, http://example.com",
        "http://\ud83d",
    ],
)
@pytest.mark.parametrize("host", ["example.com", "[::1]", "evil.example@example.com"])
def test_what_no_browser_would_send_as_an_origin_is_refused(origin: str, host: str) -> None:
    assert not origin_allowed(origin, host)
    assert not origin_allowed(origin, host, ["https://other.example"])


@pytest.mark.parametrize(
    "host",
    ["example.com/path", "user@example.com", "exam ple.com", "example.com:port", "[::1", "\\"],
)
def test_a_malformed_host_is_nobodys_host(host: str) -> None:
    assert not origin_allowed("http://example.com", host)
    assert not origin_allowed("null", host)


def test_programs_that_are_no_browser_send_no_origin() -> None:
    assert origin_allowed(None, "example.com")
    assert origin_allowed(None, "example.com", [])
    assert origin_allowed(None, "")


@pytest.mark.parametrize(
    "host", ["localhost:5001", "127.0.0.1:5001", "[::1]:5001", "example.com", "", "null"]
)
@pytest.mark.parametrize("allowed", [None, [], ["https://example.com"], ["file://"]])
def test_pages_without_an_origin_may_not_even_on_this_machine(
    host: str, allowed: list[str] | None
) -> None:
    """A page from disk is one, and so is a sandboxed frame in a page of any site."""
    assert not origin_allowed("null", host, allowed)
    assert origin_allowed("null", host, [*(allowed or ()), "null"])


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://app.example", ["https://app.example"]),
        ("https://app.example", ("https://other.example", "https://app.example")),
        ("https://APP.example", ["https://app.EXAMPLE"]),
        ("https://app.example", ["https://app.example/"]),
        ("https://app.example:8443", ["https://app.example:8443"]),
        ("https://app.example", ["https://*.example"]),
        ("https://a.b.c.example", ["https://*.EXAMPLE/"]),
        ("https://app.example:8443", ["https://*.example:8443"]),
        ("capacitor://localhost", ["capacitor://localhost"]),
        ("file://", ["file://"]),
        ("app://electron", ["app://electron"]),
    ],
)
def test_listed_origins_may_connect(origin: str, allowed: Sequence[str]) -> None:
    assert origin_allowed(origin, "snorky.example", allowed)


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://app.example", ["https://app.example"]),
        ("https://app.example:8443", ["https://app.example"]),
        ("https://www.app.example", ["https://app.example"]),
        ("https://app.example", ["app.example"]),
        ("https://app.example", ["http://*.example"]),
        ("https://app.example:8443", ["https://*.example"]),
        ("https://app.example", ["https://*.example:8443"]),
        ("https://example", ["https://*.example"]),
        ("https://.example", ["https://*.example"]),
        ("https://evilexample", ["https://*.example", "https://*example"]),
        ("https://app.example.evil", ["https://*.example"]),
        ("https://app.example", ["https://*"]),
        ("https://app.example", ["https://*."]),
        ("https://app.example", ["*.example"]),
        ("null", ["file://"]),
        ("file://evil.example", ["file://"]),
        ("https://app.example", []),
        ("https://app.example.evil.example", ["https://app.example"]),
    ],
)
def test_an_origin_is_listed_with_scheme_host_and_port(origin: str, allowed: Sequence[str]) -> None:
    assert not origin_allowed(origin, "snorky.example", allowed)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "", "garbage", None])
def test_a_star_allows_everybody(origin: str | None) -> None:
    assert origin_allowed(origin, "example.com", ["*"])
    assert origin_allowed(origin, "example.com", ["https://app.example", "*"])


def test_one_string_is_taken_for_a_mistake_and_not_for_a_list_of_letters() -> None:
    with pytest.raises(TypeError, match="list of origins"):
        origin_allowed("https://app.example", "snorky.example", "https://app.example")


def test_a_handshake_names_origin_and_host_whatever_the_case_of_the_headers() -> None:
    handshake = Handshake(
        "/ws", HTTPHeaders({"origin": "http://a.example", "HOST": "b.example:80"})
    )

    assert handshake.origin == "http://a.example"
    assert handshake.host == "b.example:80"


def test_a_handshake_without_headers_has_no_origin() -> None:
    assert Handshake("/ws", {}).origin is None
    assert Handshake("/ws", {}).host == ""


@pytest.mark.parametrize(
    "host",
    ["localhost:5001", "LOCALHOST", "app.localhost", "127.0.0.1:5001", "127.8.8.8", "[::1]:5001"],
)
def test_this_machine_calls_itself_by_its_own_names(host: str) -> None:
    assert host_allowed(host, ())


@pytest.mark.parametrize(
    "host",
    ["evil.example:5001", "localhost.evil.example", "192.0.2.1", "0.0.0.0", "[::2]", "", "a b"],
)
def test_a_name_that_only_leads_here_is_none_of_ours(host: str) -> None:
    assert not host_allowed(host, ())
    assert not host_allowed(host, ["live.example.com", "*.example.org"])


@pytest.mark.parametrize("host", ["live.example.com", "Live.Example.com.:443", "a.b.example.org"])
def test_other_names_are_listed(host: str) -> None:
    assert host_allowed(host, ["Live.example.com", "*.example.org"])
    assert not host_allowed(host, ["example.com", "*.live.example.com", "example.org"])
    assert host_allowed(host, ["*"])


@pytest.mark.parametrize("status", [200, 302, 399, 600])
def test_a_refusal_has_the_status_of_one(status: int) -> None:
    with pytest.raises(ValueError, match="from 400 to 599"):
        Refused(status)
