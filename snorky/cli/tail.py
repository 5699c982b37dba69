"""``snorky tail``: print events as they come, for those who have the key of the back end.

It watches by asking again and again (``EventsBackend.watch``): each answer comes as soon as there
is something to tell. What it has not said that it has is told again, so that an answer lost on its
way loses nothing.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Iterator
from typing import Any

import click

from snorky.backend import NoAnswerError, SnorkyError, SnorkyHTTPTransport
from snorky.backend.exchange import StatusError, call_envelope, call_result
from snorky.cli.options import backend_options, first_key
from snorky.log import printable

ANSWER_SECONDS = 40.0  # Snorky answers after 15 at the latest, its HTTP address after 30
SHORTEST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
LINE_CHARACTERS = 10_000
NOT_OURS = ", and not as a back end of Snorky does."


class Away(Exception):
    """No proper answer came; it may next time."""


class Ended(Exception):
    """Snorky has forgotten the tap: it was started anew, or we were away for too long."""


@click.command(short_help="Print the events of the service Events as they come.")
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@backend_options
@click.option(
    "--service",
    default="events_backend",
    show_default=True,
    help="Name of the EventsBackend there.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def tail(paths: tuple[str, ...], url: str, key: str, service: str, *, as_json: bool) -> None:
    """Print events of the service Events: all, or those of each PATH, until Ctrl-C.

    A PATH may end in /*, and means every path below: '/jobs/*'. Who connects to what is printed
    too, where no PATH is given or one is '*', '::connect' or '::disconnect'.

    \b
    One line is, by default
      12:30:59 /jobs/7 {"percent": 15}
    with --json
      {"path": "/jobs/7", "message": {"percent": 15}}

    What is printed starts now; nothing older is kept. While Snorky is away it is tried again and
    again, and said on standard error, as is what was missed.
    """
    tap = Tap(url, first_key(key), service)
    try:
        for updates in tap.follow(list(paths) or None):
            for update in updates:
                click.echo(json.dumps(update) if as_json else as_text(update))
    except KeyboardInterrupt:
        pass
    finally:
        tap.close()


def as_text(update: Any) -> str:
    """One line, whatever the message is: nothing in it can command the terminal."""
    message = update["message"]
    text = message if isinstance(message, str) else json.dumps(message, ensure_ascii=False)
    line = f"{time.strftime('%H:%M:%S')} {update['path']}"
    return printable(line if message is None else f"{line} {text}", LINE_CHARACTERS)


class Tap:
    """What Snorky keeps for us between two questions, and the connection to ask by."""

    def __init__(self, url: str, key: str, service: str) -> None:
        self._url = url
        self._service = service
        self._tap: str | None = None
        self._after = 0
        try:
            self._transport = SnorkyHTTPTransport(url, key, timeout=ANSWER_SECONDS)
            self._farewell = SnorkyHTTPTransport(url, key, timeout=1)
        except ValueError as error:
            raise click.UsageError(str(error)) from error

    def follow(self, paths: list[str] | None) -> Iterator[list[Any]]:
        """Yield updates as they come, without end. Raises ClickException where that is hopeless."""
        pause = SHORTEST_PAUSE
        was_away = False
        while True:
            try:
                yield self._next(paths)
            except Away as away:
                if not was_away:
                    note(f"{away}. Trying again")
                was_away = True
                time.sleep(pause * random.uniform(0.5, 1))  # noqa: S311  # nothing to guess here
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            except Ended:
                self._tap = None
                continue
            if was_away:
                note("Connected again; what came meanwhile may be missing")
            was_away, pause = False, SHORTEST_PAUSE

    def close(self) -> None:
        """Let Snorky forget the tap, if it answers at once."""
        try:
            if self._tap is not None:
                self._call("unwatch", {"tap": self._tap}, self._farewell)
        except (Away, Ended, click.ClickException):
            pass  # it does so by itself within a minute
        self._transport.close()
        self._farewell.close()

    def _next(self, paths: list[str] | None) -> list[Any]:
        if self._tap is None:
            params: dict[str, Any] = {} if paths is None else {"paths": paths}
            answer = self._call("watch", params, self._transport)
        else:
            params = {"tap": self._tap, "after": self._after}
            answer = self._call("watch", params, self._transport)
        self._tap, self._after = answer["tap"], answer["after"]
        if answer["missed"]:
            note(f"{answer['missed']} updates missed: they came faster than they were fetched")
        updates: list[Any] = answer["updates"]
        return updates

    def _call(self, command: str, params: dict[str, Any], transport: SnorkyHTTPTransport) -> Any:
        try:
            return call_result(transport.send(call_envelope(self._service, command, params)))
        except NoAnswerError as error:
            raise Away(f"Snorky does not answer at {self._url}") from error
        except SnorkyError as error:
            if str(error) == "Unknown tap":
                raise Ended from error
            raise click.ClickException(f"Snorky refuses: {error}") from error
        except StatusError as error:
            if error.status >= 500:
                raise Away(f"{self._url} answers {error.status}") from error
            if error.said is not None:
                raise click.ClickException(self._refusal(error.said)) from error
            raise click.ClickException(f"{self._url} answers {error.status}{NOT_OURS}") from error
        except RuntimeError as error:
            raise click.ClickException(f"{self._url} answers{NOT_OURS}") from error

    def _refusal(self, text: str) -> str:
        if not text.startswith("Message for non existing service "):
            return f"Snorky refuses: {text}"
        return (
            f'There is no service "{self._service}" at {self._url}. It must be an '
            "EventsBackend of the back end; --service is its name."
        )


def note(text: str) -> None:
    click.echo(f"{printable(text)}.", file=sys.stderr)
