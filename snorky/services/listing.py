"""Channels and their members over all processes, for trusted servers."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from snorky.limits import Limits
from snorky.processes import Processes
from snorky.services.base import Request, RPCError, RPCService, rpc_command
from snorky.services.keys import value_of
from snorky.wire import canonical


class Listing:
    """What this process tells others, and trusted servers, of the channels of a service.

    ``channels`` gives the keys of those that somebody is in, with how many connections; ``members``
    the keys of the identities in one of them, with theirs.
    """

    def __init__(
        self,
        processes: Processes,
        channels: Callable[[], Iterable[tuple[str, int]]],
        members: Callable[[str], Mapping[str, int]],
    ) -> None:
        self._processes = processes
        self._channels = channels
        processes.answers["channels"] = self._channels_here
        self._members = members
        processes.answers["members"] = self._members_here

    def channels(self, prefix: str, limits: Limits) -> Any:
        """``[{"channel", "connections"}, ...]`` of all processes, or an awaitable of it.

        ``prefix``: only of channels that are texts, and begin so. Raises RPCError where they are
        more than ``limits.max_listed_bytes``.
        """
        params = {"prefix": prefix, "most": limits.max_listed_bytes}
        return _then(self._processes.ask_all("channels", params), _channels_told)

    def members(self, key: str, limits: Limits) -> Any:
        """``[{"identity", "connections"}, ...]``, or an awaitable of it. Raises as ``channels``."""
        params = {"key": key, "most": limits.max_listed_bytes}
        return _then(self._processes.ask_all("members", params), _members_told)

    def _channels_here(self, params: Any) -> dict[str, int]:
        start = None if params["prefix"] == "" else params["prefix"]
        here, size = {}, 0
        for key, connections in self._channels():
            channel = value_of(key) if start is not None and key[0] == '"' else None
            if start is not None and not (channel and channel.startswith(start)):
                continue
            size += len(key)
            if size > params["most"]:
                raise RPCError("Too many channels")
            here[key] = connections
        return here

    def _members_here(self, params: Any) -> Mapping[str, int]:
        here = self._members(params["key"])
        if sum(map(len, here)) > params["most"]:
            raise RPCError("Too many members")
        return here


class ListingBackend(RPCService):
    """What trusted servers are told by a ``frontend`` that has a `Listing`."""

    def __init__(self, name: str, frontend: Any) -> None:
        super().__init__(name)
        self.frontend = frontend

    async def start(self) -> None:
        await self.frontend.start()

    async def stop(self) -> None:
        await self.frontend.stop()

    @rpc_command
    def channels(self, req: Request, prefix: str = "") -> Any:
        """All channels with somebody in them: ``[{"channel", "connections"}, ...]``."""
        return self.frontend.listing.channels(prefix, self.limits)

    @rpc_command
    def members(self, req: Request, channel: Any) -> Any:
        """Who is in a channel: ``[{"identity", "connections"}, ...]``."""
        return self.frontend.listing.members(canonical(channel), self.limits)


def _channels_told(answers: list[dict[str, int]]) -> list[dict[str, Any]]:
    return [
        {"channel": value_of(key), "connections": connections}
        for key, connections in sorted(_sum(answers).items())
    ]


def _members_told(answers: list[dict[str, int]]) -> list[dict[str, Any]]:
    return [
        {"identity": value_of(key), "connections": connections}
        for key, connections in sorted(_sum(answers).items())
    ]


def _sum(answers: list[dict[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for answer in answers:
        total.update(answer)
    return total


def _then(answers: Any, make: Callable[[Any], Any]) -> Any:
    return _later(answers, make) if inspect.isawaitable(answers) else make(answers)


async def _later(answers: Awaitable[Any], make: Callable[[Any], Any]) -> Any:
    return make(await answers)
