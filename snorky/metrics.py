"""Counters and gauges of this process, in Prometheus' text format.

The counters are plain integers: adding to one costs nanoseconds, so that the way of a
message stays free of locks. They are read when somebody asks for ``/metrics``.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


@dataclass(slots=True)
class Metrics:
    """What happened in this process since its start. Gauges are named in ``GAUGES``."""

    clients: int = 0
    clients_connected: int = 0
    clients_refused: int = 0
    clients_slow: int = 0
    clients_silent: int = 0
    connections_refused: int = 0
    handshakes_timed_out: int = 0
    messages_received: int = 0
    messages_refused: int = 0
    messages_sent: int = 0
    publications: int = 0
    rpc_calls: int = 0
    rpc_errors: int = 0
    rpc_exceptions: int = 0
    rpc_pending: int = 0
    rpc_timeouts: int = 0
    rpc_unavailable: int = 0
    subscriptions: int = 0
    deltas: int = 0
    tokens_expired: int = 0
    tokens_overflowed: int = 0
    backend_requests: int = 0
    backend_refused: int = 0
    resumes: dict[str, int] = field(default_factory=dict)
    """By outcome: "recovered", or the reason of a refusal."""

    def count_resumes(self, outcome: str, count: int = 1) -> None:
        if count:
            self.resumes[outcome] = self.resumes.get(outcome, 0) + count

    def watch_log(self, name: str, owner: Owner, figures: Callable[[Owner], LogFigures]) -> None:
        """Show the figures of a log under the name of its service, while its owner lives."""
        _logs[name] = (weakref.ref(owner), figures)

    def watch_relay(self, source: str, owner: Owner, figures: Callable[[Owner], Any]) -> None:
        """Show the ``RelayFigures`` of a relay under its source, while it lives."""
        _relays[source] = (weakref.ref(owner), figures)


@dataclass(frozen=True, slots=True)
class LogFigures:
    """What a process knows of a log, now."""

    head: int
    first: int
    bytes: int
    lag: float
    items: int


@dataclass(slots=True)
class RelayFigures:
    """What a relay has done, and how it is."""

    ready: bool = False
    passes: int = 0
    rows: int = 0
    entries: int = 0
    failures: int = 0
    outbox_length: int = 0
    outbox_age: float = 0.0
    lag: float = 0.0


Owner = TypeVar("Owner")

_logs: dict[str, tuple[weakref.ref[Any], Callable[[Any], LogFigures]]] = {}
_relays: dict[str, tuple[weakref.ref[Any], Callable[[Any], RelayFigures]]] = {}

LABELLED = {"resumes"}

GAUGES = {"clients", "rpc_pending", "subscriptions"}

LOG_HELP = {
    "head": "Sequence of the newest entry",
    "first": "Sequence of the oldest entry that is kept",
    "bytes": "Bytes kept, of entries and of notes",
    "lag": "Seconds by which this process is behind the head",
    "items": "Queries that pages share",
}

RELAY_HELP = {
    "ready": "1 where the relay works: it has the lease, the database and Snorky answer",
    "passes": "Times that all there was has been told",
    "rows": "Rows of the outbox that were told",
    "entries": "Entries of the log that were appended: transactions, or runs of them",
    "failures": "Times that the database or Snorky was away",
    "outbox_length": "Rows of the outbox that have been found and not told",
    "outbox_age": "Seconds since the oldest of these was written",
    "lag": "Seconds since all there was had been told",
}

HELP = {
    "clients": "Clients connected now",
    "clients_connected": "Clients admitted",
    "clients_refused": "Handshakes refused (origin, identity, malformed)",
    "clients_slow": "Clients disconnected because they did not read",
    "clients_silent": "Clients disconnected because they did not answer pings",
    "connections_refused": "Connections refused because there were too many",
    "handshakes_timed_out": "Connections cut because they said nothing",
    "messages_received": "Messages received from clients",
    "messages_refused": "Messages dropped: malformed, or for an unknown service",
    "messages_sent": "Messages sent to clients, one for each receiver",
    "publications": "Publications, one for each channel message however many receive it",
    "rpc_calls": "Calls of RPC commands",
    "rpc_errors": "Calls answered with an error",
    "rpc_exceptions": "Calls ended by an unexpected exception",
    "rpc_pending": "Asynchronous calls under way now",
    "rpc_timeouts": "Asynchronous calls cancelled at their time limit",
    "rpc_unavailable": "Calls refused because the broker was away",
    "subscriptions": "Subscriptions of clients now, to channels and to data",
    "deltas": "Deltas published",
    "tokens_expired": "Subscription tokens that nobody acquired in time",
    "tokens_overflowed": "Subscription tokens ended because too much was kept for them",
    "backend_requests": "Requests to the HTTP back end",
    "resumes": "Subscriptions that pages opened, by outcome",
    "backend_refused": "Requests to the HTTP back end refused (key, size, format)",
}

metrics = Metrics()


class _SnorkyCollector(Collector):
    def collect(self) -> Iterable[Metric]:
        for each in fields(metrics):
            if each.name in LABELLED:
                continue
            family = GaugeMetricFamily if each.name in GAUGES else CounterMetricFamily
            yield family(f"snorky_{each.name}", HELP[each.name], value=getattr(metrics, each.name))
        resumes = CounterMetricFamily("snorky_resumes", HELP["resumes"], labels=["outcome"])
        for outcome, value in {"recovered": 0, **metrics.resumes}.items():
            resumes.add_metric([outcome], value)
        yield resumes
        yield from _log_families()
        yield from _relay_families()


def _log_families() -> Iterable[Metric]:
    families = {
        name: GaugeMetricFamily(f"snorky_log_{name}", text, labels=["service"])
        for name, text in LOG_HELP.items()
    }
    for service, (reference, figures) in tuple(_logs.items()):
        owner = reference()
        if owner is None:
            del _logs[service]
            continue
        known = figures(owner)
        for name, family in families.items():
            family.add_metric([service], getattr(known, name))
    return families.values()


def _relay_families() -> Iterable[Metric]:
    alive = {source: owner for source, (to, _) in _relays.items() if (owner := to()) is not None}
    for source in _relays.keys() - alive.keys():
        del _relays[source]
    known = {source: _relays[source][1](owner) for source, owner in alive.items()}
    for name, text in RELAY_HELP.items() if known else ():
        counts = name in ("passes", "rows", "entries", "failures")
        kind = CounterMetricFamily if counts else GaugeMetricFamily
        family = kind(f"snorky_relay_{name}", text, labels=["source"])
        for source, figures in known.items():
            family.add_metric([source], getattr(figures, name))
        yield family


_registry = CollectorRegistry()
_registry.register(_SnorkyCollector())


def prometheus_text() -> bytes:
    """All metrics in Prometheus' text exposition format 0.0.4."""
    return generate_latest(_registry)
