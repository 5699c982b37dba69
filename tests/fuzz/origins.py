"""Which page is whose: what a browser would say, by way of libraries that read URLs."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from yarl import URL

from snorky.identity import origin_allowed


def names_in(url: str) -> set[str]:
    """The host names that readers of URLs find in one, without a dot at the end."""
    names: set[str] = set()
    for read in (lambda: URL(url).raw_host, lambda: urlsplit(url).hostname):
        try:
            name = (read() or "").lower().removesuffix(".")
            names.add(str(ip_address(name)) if ":" in name else name)
        except ValueError:  # it reads none
            pass
    return names


def check_origin(page: str, host: str) -> None:
    """Who is allowed without a list is a page of the same host to everybody who reads URLs."""
    if not origin_allowed(page, host):
        return
    names = names_in(f"http://{host}")
    assert len(names) == 1, f"a Host that is none, or read in two ways: {host!r}"
    (name,) = names
    assert name, f"a Host that is none: {host!r}"
    if page.lower() == "null":
        assert name == "localhost" or name.endswith(".localhost") or _is_loopback(name), host
    else:
        assert names_in(page) == names, f"{page!r} is no page of {host!r}"


def _is_loopback(name: str) -> bool:
    return name == "::1" or name.startswith(("127.", "::ffff:127."))
