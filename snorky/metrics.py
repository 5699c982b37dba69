"""Counters and gauges of this process, in Prometheus' text format.

The counters are plain integers: adding to one costs nanoseconds, so that the way of a
message stays free of locks. They are read when somebody asks for ``/metrics``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

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
    subscriptions: int = 0
    deltas: int = 0
    tokens_expired: int = 0
    tokens_overflowed: int = 0
    backend_requests: int = 0
    backend_refused: int = 0


GAUGES = {"clients", "rpc_pending", "subscriptions"}

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
    "subscriptions": "Subscriptions of clients now, to channels and to data",
    "deltas": "Deltas published",
    "tokens_expired": "Subscription tokens that nobody acquired in time",
    "tokens_overflowed": "Subscription tokens ended because too much was kept for them",
    "backend_requests": "Requests to the HTTP back end",
    "backend_refused": "Requests to the HTTP back end refused (key, size, format)",
}

metrics = Metrics()


class _SnorkyCollector(Collector):
    def collect(self) -> Iterable[Metric]:
        for field in fields(metrics):
            family = GaugeMetricFamily if field.name in GAUGES else CounterMetricFamily
            yield family(
                f"snorky_{field.name}", HELP[field.name], value=getattr(metrics, field.name)
            )


_registry = CollectorRegistry()
_registry.register(_SnorkyCollector())


def prometheus_text() -> bytes:
    """All metrics in Prometheus' text exposition format 0.0.4."""
    return generate_latest(_registry)
