"""Pages that may talk to us, and names that we are called by, as browsers say them.

A page of any site can make a browser send requests to us. It cannot choose what the browser says
about it in ``Origin``, nor the name in ``Host``, which is that of the address it asked for.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]*)?", re.ASCII)
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*://)" + _HOST.pattern, re.ASCII)


def origin_allowed(
    origin: str | None, host: str, allowed_origins: Sequence[str] | None = None
) -> bool:
    """Say whether a page of ``origin`` may talk to us at ``host`` (a Host header).

    Pages of the same host name may, whatever their port and scheme, since the web application
    usually listens on another port; and programs, which send no Origin. ``allowed_origins`` adds
    the origins that it lists: ``https://example.com``; ``https://*.example.com``, which is every
    host name that ends so; ``file://``, which some applications send; ``null``, which are pages
    opened from disk and sandboxed frames of every site; ``["*"]`` is everybody.
    """
    if isinstance(allowed_origins, str):
        raise TypeError(f"expected a list of origins, got the string {allowed_origins!r}")
    if origin is None:
        return True
    origin = origin.lower()
    listed = [allowed.lower().rstrip("/") for allowed in allowed_origins or ()]
    if "*" in listed or origin.rstrip("/") in listed:
        return True
    page = _ORIGIN.fullmatch(origin)
    if page is None:
        return False
    if any("*" in allowed and _is_below(page, allowed) for allowed in listed):
        return True
    host_name = _name_in(host)
    return host_name is not None and _stripped(page[2]) == host_name


def _is_below(page: re.Match[str], allowed: str) -> bool:
    """``allowed`` is as ``https://*.example.com:8443``: scheme and port are those of the page."""
    scheme, _, rest = allowed.partition("*")
    name, colon, port = rest.partition(":")
    # An origin has no dot behind its host name, and no port where that is the scheme's own.
    return (
        page[1] == scheme
        and (page[3] or "") == colon + port
        and len(name) > 1
        and name[0] == "."
        and page[2].endswith(name)
        and len(page[2]) > len(name)
    )


def host_allowed(host: str, allowed_hosts: Iterable[str]) -> bool:
    """Say whether we are called by a name of ours: one of this machine, or one that is listed.

    Any name can be made to lead to 127.0.0.1, and then pages of that name are of our own host:
    so a server that is for this machine alone looks at what it is called. ``allowed_hosts`` are
    names without a port, as ``live.example.com`` or ``*.example.com``; ``*`` is any.
    """
    listed = [allowed.lower() for allowed in allowed_hosts]
    if "*" in listed:
        return True
    name = _name_in(host)
    if name is None:
        return False
    return (
        is_loopback(name)
        or name in listed
        or any(allowed.startswith("*.") and name.endswith(allowed[1:]) for allowed in listed)
    )


def is_loopback(name: str) -> bool:
    """Whether a host name, or an address, is this machine's for itself."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _name_in(host: str) -> str | None:
    """The host name in a Host header; None where it is nothing that a browser would send."""
    match = _HOST.fullmatch(host.lower())
    return None if match is None else _stripped(match[1])


def _stripped(name: str) -> str | None:
    return name.removesuffix(".") or None
