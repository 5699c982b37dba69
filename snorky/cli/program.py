"""The Python file that ``snorky serve`` is given: what it defines, and what is wrong with it."""

from __future__ import annotations

import importlib
import importlib.util
import ipaddress
import os
import re
import sys
import traceback
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import click

from snorky import ServiceRegistry
from snorky.backend.outbox import Relay
from snorky.backend.outbox.installation import InstallationError
from snorky.brokers import Broker
from snorky.cli.brokers import broker_at, give
from snorky.services.datasync import DataSyncService

ORIGIN = re.compile(
    r"[a-z][a-z0-9+.-]*://(\*\.[^/\s*.:]+[^/\s*]*|[^/\s*]+)/?", re.ASCII | re.IGNORECASE
)
HOST = re.compile(r"(\*\.)?[a-z0-9._-]+|\[[0-9a-f:.]+\]", re.ASCII | re.IGNORECASE)


Hook = Callable[[], Awaitable[None] | None]


@dataclass(frozen=True, slots=True)
class Served:
    """What a file defines to be served."""

    frontend: ServiceRegistry
    backend: ServiceRegistry | None
    api_keys: tuple[str, ...]
    allowed_origins: tuple[str, ...] | None
    trusted_proxies: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] | None = None
    pages: Path | None = None
    broker: Broker | None = None
    start: Hook | None = None
    stop: Hook | None = None
    relays: tuple[Relay, ...] = ()


def load(
    file: Path | None,
    more_origins: Sequence[str] = (),
    more_hosts: Sequence[str] = (),
    broker_url: str | None = None,
) -> Served:
    """Run ``file`` and take what it defines. Raises click.ClickException, which names the fault.

    None: what is served by default, lists of a web application.
    """
    module = importlib.import_module("snorky.cli.lists") if file is None else run_file(file)
    frontend = getattr(module, "frontend", None)
    if not isinstance(frontend, ServiceRegistry):
        raise click.ClickException(
            f"{file} must define frontend = ServiceRegistry([...]); "
            f"got {_kind(module, 'frontend')}."
        )
    backend = getattr(module, "backend", None)
    if backend is not None and not isinstance(backend, ServiceRegistry):
        raise click.ClickException(
            f"backend in {file} must be a ServiceRegistry; got {_kind(module, 'backend')}."
        )
    api_key = getattr(module, "api_key", None) or os.environ.get("SNORKY_API_KEY", "").split(",")
    keys = [api_key] if isinstance(api_key, str) else list(api_key)
    api_keys = tuple(key.strip() for key in keys if key.strip())
    if backend is not None and not api_keys:
        raise click.ClickException(
            f"{file or 'Snorky'} defines a back end, but there is no key for it: set the "
            "environment variable SNORKY_API_KEY, or define api_key in the file."
        )
    sign_tokens(frontend, api_keys)
    broker = _broker(module, file, broker_url)
    if broker is not None:
        give(broker, [each for each in (frontend, backend) if each is not None])
    origins = _listed(module, "allowed_origins", file, more_origins)
    check_origins(origins or ())
    hosts = _listed(module, "allowed_hosts", file, more_hosts)
    check_hosts(hosts or ())
    return Served(
        frontend,
        backend,
        api_keys,
        origins,
        allowed_hosts=hosts,
        broker=broker,
        start=_hook(module, "start"),
        stop=_hook(module, "stop"),
        relays=_relays(module, backend),
    )


def _listed(
    module: ModuleType, name: str, file: Path | None, more: Sequence[str]
) -> tuple[str, ...] | None:
    """What the file lists and what the command line adds; None where neither does."""
    listed = getattr(module, name, None)
    if isinstance(listed, str):
        raise click.ClickException(f"{name} in {file} must be a list; got str.")
    return (*(listed or ()), *more) if listed is not None or more else None


def sign_tokens(frontend: ServiceRegistry, api_keys: Sequence[str]) -> None:
    """Let DataSync services that have no key of their own sign with what the back end's keys give:
    tokens outlive a restart, and a change of keys."""
    for service in frontend.registered_services.values():
        if isinstance(service, DataSyncService) and api_keys and not service.has_token_key:
            service.sign_with(api_keys)


def _broker(module: ModuleType, file: Path | None, url: str | None) -> Broker | None:
    """The broker of the command line, else that of the file."""
    broker = url or getattr(module, "broker", None)
    if isinstance(broker, str):
        return broker_at(broker)
    if broker is not None and not isinstance(broker, Broker):
        raise click.ClickException(
            f"broker in {file} must be a Broker, or the address of one; "
            f"got {_kind(module, 'broker')}."
        )
    return broker


def _relays(module: ModuleType, backend: ServiceRegistry | None) -> tuple[Relay, ...]:
    """The relays that a file names: one, or a list; each a Relay, or a database's address."""
    named = getattr(module, "relay", None)
    if named is None:
        return ()
    if backend is None:
        raise click.ClickException(
            f"{module.__file__} names a relay, but no back end: it tells a DataSyncBackend of one."
        )
    listed = named if isinstance(named, list | tuple) else [named]
    try:
        relays = tuple(Relay(each) if isinstance(each, str) else each for each in listed)
    except (ValueError, InstallationError) as error:
        raise click.ClickException(f"relay in {module.__file__}: {error}") from error
    if not all(isinstance(each, Relay) for each in relays):
        raise click.ClickException(
            f"relay in {module.__file__} must be a Relay of snorky.backend.outbox, a database's "
            f"address, or a list of these; got {_kind(module, 'relay')}."
        )
    return relays


def _hook(module: ModuleType, name: str) -> Hook | None:
    hook = getattr(module, name, None)
    if hook is not None and not callable(hook):
        raise click.ClickException(
            f"{name} in {module.__file__} must be a function without parameters; "
            f"got {_kind(module, name)}."
        )
    return hook


def check_origins(origins: Sequence[str]) -> None:
    for origin in origins:
        if origin not in ("*", "null", "file://") and not ORIGIN.fullmatch(origin):
            raise click.ClickException(
                "An allowed origin is a scheme and a host, as https://example.com or "
                f"https://*.example.com, or 'null', or '*'; got {origin!r}."
            )


def check_hosts(hosts: Sequence[str]) -> None:
    for host in hosts:
        if host != "*" and not HOST.fullmatch(host):
            raise click.ClickException(
                "An allowed host is a name without scheme and port, as live.example.com or "
                f"*.example.com, or '*'; got {host!r}."
            )


def check_proxies(addresses: Sequence[str]) -> None:
    for address in addresses:
        try:
            ipaddress.ip_network(address)
        except ValueError as error:
            why = f" ({error})" if "host bits" in str(error) else ""
            raise click.ClickException(
                "A trusted proxy is an IP address, as 127.0.0.1, or a network, as 10.0.0.0/8; "
                f"got {address!r}{why}."
            ) from None


def _kind(module: ModuleType, name: str) -> str:
    return type(getattr(module, name)).__name__ if hasattr(module, name) else "nothing"


def run_file(file: Path) -> ModuleType:
    """Import ``file`` under its own name; what lies beside it can be imported by it."""
    directory = str(file.resolve().parent)
    if directory not in sys.path:
        sys.path.insert(0, directory)
    spec = importlib.util.spec_from_file_location(file.stem, file.resolve())
    if spec is None or spec.loader is None:
        raise click.ClickException(f"{file} is not a Python file; expected a name ending in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        frames = error.__traceback__
        while frames is not None and frames.tb_frame.f_code.co_filename != str(file.resolve()):
            frames = frames.tb_next
        # From the file on: how it came to be run is of no interest. A syntax error has no frame.
        text = "".join(traceback.format_exception(type(error), error, frames))
        raise click.ClickException(f"{file} cannot be run.\n{text}") from error
    return module
