"""``snorky check``: what the dealers of a file do for each row, before a server runs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from snorky import ServiceRegistry
from snorky.cli.options import in_columns
from snorky.cli.program import load
from snorky.filters import BadQuery
from snorky.services.datasync import DataSyncService
from snorky.services.datasync.dealers import (
    BroadcastDealer,
    Dealer,
    FilterDealer,
    RefetchDealer,
    SimpleDealer,
)


@click.command(short_help="Say what the dealers of a file do for each row.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--filter",
    "filters",
    nargs=2,
    multiple=True,
    metavar="DEALER JSON",
    help="Also say how this filter is found by that dealer's index. May be repeated.",
)
def check(file: Path, filters: Sequence[tuple[str, str]]) -> None:
    """Run FILE as "snorky serve" does, listen nowhere, and say how its dealers find the
    subscriptions that a changed row matches.

    \b
      snorky check server.py
      snorky check server.py --filter TasksByFilter '["==", "team", 3]'

    The exit status is 1 where FILE cannot be served or a filter is refused.
    """
    os.environ.setdefault("SNORKY_API_KEY", "unused: nothing listens")
    served = load(file)
    services = list(_services(served.frontend))
    table = [("SERVICE", "DEALER", "MODEL", "KEY", "TYPED FIELDS", "FINDS SUBSCRIPTIONS BY")]
    slow = []
    for service in services:
        for name, dealer in service.dealers.items():
            row = (_models(dealer), _key(dealer), _types(dealer), finds_by(dealer))
            table.append((service.name, name, *row))
            if not _looks_up(dealer):
                slow.append(name)
    if len(table) == 1:
        click.echo(f"{file} has no dealers: nothing is matched.")
    else:
        click.echo(in_columns(table))
    for name in slow:
        click.echo(
            f"\n{name} is asked about every row of its model, in its own code: "
            "keep that short, or make it a FilterDealer."
        )
    refused = [told for told in filters if not _tell(services, *told)]
    if refused:
        raise SystemExit(1)


def _services(frontend: ServiceRegistry) -> Iterator[DataSyncService]:
    for service in frontend.registered_services.values():
        if isinstance(service, DataSyncService):
            yield service


def _models(dealer: Dealer) -> str:
    return ", ".join(dealer.models) if isinstance(dealer, RefetchDealer) else dealer.model


def _key(dealer: Dealer) -> str:
    return dealer.key if isinstance(dealer.key, str) else ", ".join(dealer.key)


def _types(dealer: Dealer) -> str:
    return ", ".join(f"{field}: {kind.__name__}" for field, kind in dealer.types.items())


def _looks_up(dealer: Dealer) -> bool:
    """Whether a row costs the same, however many subscriptions there are."""
    if isinstance(dealer, RefetchDealer):
        return type(dealer).matches is RefetchDealer.matches
    ours = (FilterDealer, SimpleDealer, BroadcastDealer)
    return isinstance(dealer, ours) and dealer.shares_queries


def finds_by(dealer: Dealer) -> str:
    """In words, how a dealer finds the subscriptions that a row matches."""
    if isinstance(dealer, RefetchDealer):
        own = "" if _looks_up(dealer) else ", then matches() for each query"
        return f"its models{own}"
    if not _looks_up(dealer):
        return "code of its own, for every row"
    if isinstance(dealer, FilterDealer):
        return "an index of its filters"
    return "one look-up" if isinstance(dealer, SimpleDealer) else "nothing: all hear of every row"


def _tell(services: Sequence[DataSyncService], name: str, text: str) -> bool:
    """Say how a filter is found; False where it is refused."""
    dealers = {found: dealer for service in services for found, dealer in service.dealers.items()}
    dealer = dealers.get(name)
    click.echo()
    if not isinstance(dealer, FilterDealer):
        known = ", ".join(found for found in dealers if isinstance(dealers[found], FilterDealer))
        click.echo(f"{name} is no FilterDealer of this file; these are: {known or 'none'}.")
        return False
    try:
        parsed = dealer.index.parse(json.loads(text))
    except ValueError as error:  # BadQuery is one
        what = "refused" if isinstance(error, BadQuery) else "no JSON"
        click.echo(f"{name}: the filter is {what}: {error}")
        return False
    places = dealer.index.places(parsed)
    click.echo(f"{name}: {parsed.text}")
    if places is None:
        click.echo(
            "  checked for every row: it asks for nothing that can be looked up "
            f"(at most {dealer.max_unindexed} such filters)"
        )
    elif not places:
        click.echo("  matches no row")
    else:
        click.echo(f"  found by {', '.join(places)}")
    return True
