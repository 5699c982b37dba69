"""The broker that ``snorky serve`` gives to services which have none of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from snorky.brokers import Broker
from snorky.brokers.memory import MemoryBroker

EXTRAS = {
    "redis": "redis",
    "rediss": "redis",
    "valkey": "redis",
    "valkeys": "redis",
    "unix": "redis",
    "postgresql": "postgres",
    "postgres": "postgres",
}

EXPECTED = "redis://HOST:PORT, rediss://, valkey://, unix:///PATH, postgresql://..., or memory:"


def broker_at(url: str) -> Broker:
    """The broker at a URL. Raises click.ClickException, which names the fault."""
    scheme = url.partition(":")[0].partition("+")[0]
    if url in ("memory", "memory:", "memory://"):
        return MemoryBroker()
    extra = EXTRAS.get(scheme)
    if extra is None:
        raise click.ClickException(f"A broker is {EXPECTED}; got {scheme!r}.")
    try:
        return _make(extra, url)
    except ImportError as error:
        raise click.ClickException(
            f'{scheme} needs a package that is not installed: pip install "snorky[{extra}]" '
            f"({error})."
        ) from error
    except ValueError as error:
        raise click.ClickException(f"The broker's address cannot be used: {error}.") from error


def _make(extra: str, url: str) -> Broker:
    if extra == "redis":
        from snorky.brokers.redis import RedisBroker

        return RedisBroker(url)
    from snorky.brokers.postgres import PostgresBroker

    return PostgresBroker(url)


def services_with_brokers(registries: list[Any]) -> Iterator[Any]:
    """Every service that has a broker, also those that only a back end knows."""
    seen: list[Any] = []
    for registry in registries:
        for service in registry.registered_services.values():
            for each in (service, getattr(service, "frontend", None)):
                if isinstance(getattr(each, "broker", None), Broker) and each not in seen:
                    seen.append(each)
                    yield each


def give(broker: Broker, registries: list[Any]) -> None:
    """Let services use ``broker`` that were made without one."""
    for service in services_with_brokers(registries):
        if hasattr(service, "use_broker") and not service.has_own_broker:
            service.use_broker(broker)


def is_joined(registries: list[Any], broker: Broker | None) -> bool:
    """Whether some engine joins this process to others; ``broker`` is what was named for all."""
    brokers = [each.broker for each in services_with_brokers(registries)]
    brokers += [] if broker is None else [broker]
    return bool(brokers) and not any(isinstance(each, MemoryBroker) for each in brokers)


def check_joined(registries: list[Any], broker: Broker | None, workers: int) -> None:
    """Raises click.ClickException where several processes would not be one Snorky."""
    if is_joined(registries, broker):
        return
    services = services_with_brokers(registries)
    alone = [f'"{each.name}"' for each in services if isinstance(each.broker, MemoryBroker)]
    raise click.ClickException(
        f"--workers {workers} needs a broker that joins the processes: with the one in memory "
        f"{', '.join(alone) or 'services'} would reach the clients of one process alone. Give "
        "--broker redis://HOST:PORT or --broker postgresql://..., or define broker in FILE."
    )
