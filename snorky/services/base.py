"""Services: what they are told, and how a remote call becomes a method call.

Knows messages and clients, not connections: anything hashable with ``send`` is a client.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any, TypeVar

from snorky.brokers.log import BrokerUnavailable
from snorky.client import Peer, log_about, refuse_message
from snorky.envelope import Envelope
from snorky.hashable import HashableDict, HashableList
from snorky.hooks import HOOK_FAULTS, is_cancelled
from snorky.limits import DEFAULT_LIMITS, Limits
from snorky.log import printable, snorky_log
from snorky.metrics import metrics
from snorky.services.encoded import EncodedList
from snorky.services.signatures import InvalidParams, signature_of
from snorky.wire import encode

Command = TypeVar("Command", bound=Callable[..., Any])

UNAVAILABLE = "The broker is not available"
"""What a call is answered whose broker did not take what it was given, or did not say so."""

_PLAIN = frozenset({str, int, float, bool, dict, list, HashableDict, HashableList})
"""What most commands return: nothing to wait for."""


class InvalidMessage(Exception):
    """The message is not a call."""


class RPCError(Exception):
    """Raised by a command to refuse: its text goes to the client."""


def rpc_command(function: Command) -> Command:
    """Make a method of an RPCService callable by clients."""
    function.is_rpc_command = True  # type: ignore[attr-defined]
    return function


def rpc_asynchronous(function: Command) -> Command:
    """Let a command answer later through its request: a return of None then sends nothing."""
    function.is_rpc_asynchronous = True  # type: ignore[attr-defined]
    return function


def format_call(command: Any, params: Any) -> str:
    """A call as text for logs: ``sum({"a": 1, "b": 2})``, cut to 100 characters."""
    try:
        text = json.dumps(params, sort_keys=True, ensure_ascii=False, default=repr)
    except (TypeError, ValueError, RecursionError):
        text = repr(params)
    call = f"{command}({text})"
    return call if len(call) <= 100 else call[:97] + "..."


class Service:
    """Something clients send messages to, under a name.

    Every service of a registry is told of every client that comes and goes.
    """

    limits: Limits = DEFAULT_LIMITS
    """The registry's, from when the service is registered in it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def start(self) -> Awaitable[None] | None:
        """The server starts: nobody has come yet. May be ``async``; an exception ends the start."""

    def stop(self) -> Awaitable[None] | None:
        """The server stops, and everybody has gone. May be ``async``."""

    def process_message_from(self, client: Peer, msg: Any) -> None:
        """A client sent ``msg``; it and all it contains can be used as dictionary keys."""
        raise NotImplementedError(f"{type(self).__name__} must override process_message_from")

    def client_connected(self, client: Peer) -> None:
        """A client connected. Not called for requests to the HTTP back end."""

    def client_disconnected(self, client: Peer) -> None:
        """A client has gone. Not called for requests to the HTTP back end."""

    def send_message_to(self, client: Peer, msg: Any) -> None:
        """Send ``msg``, any JSON value, to the same service of the client's library."""
        client.send({"service": self.name, "message": msg})  # an Envelope is for many

    def broadcast(self, clients: Iterable[Peer], msg: Any) -> None:
        """Send ``msg`` to each of ``clients``; it is encoded once."""
        envelope = Envelope(self.name, msg)
        # A copy: what a user's client does in send may change the set.
        for client in tuple(clients):
            client.send(envelope)


class Request:
    """One call: answered once, by ``reply`` or by ``error``."""

    debug: bool = False
    """True: unexpected exceptions propagate instead of being answered. For tests."""

    fault: Exception | None = None
    """Why the parameters are invalid. Not for the client: it may be a stranger."""

    def __init__(self, service: Any, client: Peer, msg: Any) -> None:
        """Raises InvalidMessage where ``msg`` is not an object with ``command`` and ``params``."""
        if not isinstance(msg, dict) or "command" not in msg or "params" not in msg:
            raise InvalidMessage("expected an object with the keys command and params")
        self.service = service
        self.client = client
        self.command = msg["command"]
        self.params = msg["params"]
        self.call_id = msg.get("callId")
        self.resolved = False

    def reply(self, data: Any) -> None:
        """Answer with ``data``, any JSON value. Raises RuntimeError where already answered."""
        message = {"type": "response", "data": data}
        if self.call_id is not None:
            message["callId"] = self.call_id
        self._answer(message)

    def error(self, message: str) -> None:
        """Answer with an error text. Raises RuntimeError where already answered."""
        self._answer({"type": "error", "callId": self.call_id, "message": message})
        metrics.rpc_errors += 1

    def format_call(self) -> str:
        """The call as text for logs, without the secrets in its parameters."""
        hide = getattr(self.service, "hide_secrets", None)
        return format_call(self.command, self.params if hide is None else hide(self.params))

    def _answer(self, message: dict[str, Any]) -> None:
        if self.resolved:
            raise RuntimeError("This request has already been resolved")
        self.resolved = True
        try:
            self._send(message)
        except BaseException:
            self.resolved = False  # nothing was sent: it cannot be encoded
            raise

    def _send(self, message: dict[str, Any]) -> None:
        self.service.send_message_to(self.client, message)


class RPCService(Service):
    """A service whose methods clients call.

    A command is a method ``name(self, req, ...)`` marked with ``rpc_command``, or named in the
    class attribute ``rpc_commands``; parameters have the names that clients use. It may be plain,
    ``async``, or return an awaitable; what it returns is the reply.

    Asynchronous commands of one client start in order and may finish out of order. They run to
    their end, or for ``limits.command_timeout``, also when the client leaves meanwhile: code
    between a commit and its publication is not killed. Only the reply is dropped then.
    """

    rpc_commands: Iterable[str] = frozenset()
    """Names of the commands, those of the base classes included."""

    secret_params: Collection[str] = frozenset()
    """Names of parameters whose values are never logged."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        commands: set[str] = set()
        for base in cls.__mro__:  # mixins that are no services included
            commands.update(vars(base).get("rpc_commands", ()))
            commands.update(
                name
                for name, value in vars(base).items()
                if getattr(value, "is_rpc_command", False)
            )
        cls.rpc_commands = frozenset(commands)

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._pending_calls: dict[Peer, tuple[int, int]] = {}
        """Per client: how many, and the bytes of their parameters."""
        self.tasks: set[asyncio.Task[None]] = set()
        """Asynchronous calls under way."""
        for command in self.rpc_commands:
            function = getattr(type(self), command, None)
            if function is not None:
                signature_of(function, 1)  # a faulty annotation shows at the start, not at a call

    def process_message_from(self, client: Peer, msg: Any) -> None:
        try:
            request = Request(self, client, msg)
        except InvalidMessage:
            refuse_message(
                client,
                f'Invalid format in RPC service "{self.name}". Message: '
                f"{printable(self.hide_secrets(msg))}",
            )
            return
        self.process_request(request)

    def hide_secrets(self, value: Any) -> Any:
        """``value``, params or a message that holds them, as it may be logged."""
        if not self.secret_params:
            return value
        if isinstance(value, list):
            return [self.hide_secrets(item) for item in value]
        if not isinstance(value, dict):
            return value
        return {
            key: "(hidden)" if key in self.secret_params else self.hide_secrets(item)
            for key, item in value.items()
        }

    def process_request(self, request: Any) -> None:
        """Run one call and see that it is answered.

        ``request`` is a Request or any object with its attributes.
        """
        metrics.rpc_calls += 1
        command = request.command
        method = None
        if isinstance(command, str) and command in self.rpc_commands:
            method = getattr(self, command, None)
        if method is None:
            request.error("Unknown command")
            return
        function = getattr(method, "__func__", None)
        # A function set on the instance is not bound: it takes no self.
        signature = signature_of(method, 0) if function is None else signature_of(function, 1)
        try:
            params = signature.fit(request.params)
        except InvalidParams as fault:
            log_about(
                request.client,
                f'Invalid params in RPC service "{self.name}": {printable(request.format_call())}',
                why=f"Params of {printable(command)}: {printable(str(fault))}",
            )
            if isinstance(request, Request):
                request.fault = fault
            request.error("Invalid params")
            return
        try:
            result = method(request, **params)
            if result is None:
                if not request.resolved and not getattr(method, "is_rpc_asynchronous", False):
                    request.reply(None)
            elif type(result) in _PLAIN:
                request.reply(result)
            elif inspect.isawaitable(result):
                self._start(request, result, getattr(method, "is_rpc_asynchronous", False))
            else:
                request.reply(result.text if type(result) is EncodedList else result)
        except HOOK_FAULTS as error:
            self._failed(request, error)

    def _start(self, request: Any, result: Awaitable[Any], answers_later: bool) -> None:
        client = request.client
        calls, nbytes = self._pending_calls.get(client, (0, 0))
        size = _size_of(request.params)
        limits = self.limits
        if calls >= limits.max_pending_calls or (
            calls and nbytes + size > limits.max_pending_bytes
        ):
            close = getattr(result, "close", None)  # a coroutine's, which has not begun
            if close is not None:
                close()
            raise RPCError("Too many pending calls")
        task = asyncio.get_running_loop().create_task(
            self._finish(request, result, answers_later, size)
        )
        self._pending_calls[client] = calls + 1, nbytes + size
        metrics.rpc_pending += 1
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _finish(
        self, request: Any, result: Awaitable[Any], answers_later: bool, size: int
    ) -> None:
        try:
            async with asyncio.timeout(self.limits.command_timeout) as timeout:
                data = await result
                # An override may return what its base's command has to wait for.
                while inspect.isawaitable(data):
                    data = await data
            if data is not None or not (request.resolved or answers_later):
                request.reply(data.text if type(data) is EncodedList else data)
        except TimeoutError as error:
            if not timeout.expired():
                self._failed(request, error)
            else:
                metrics.rpc_timeouts += 1
                snorky_log.warning(
                    'Command timed out after %g s in RPC service "%s": %s',
                    self.limits.command_timeout,
                    self.name,
                    printable(request.format_call()),
                )
                if not request.resolved:
                    request.error("Command timed out")
        except HOOK_FAULTS as error:
            if is_cancelled():
                raise
            self._failed(request, error)
        finally:
            metrics.rpc_pending -= 1
            calls, nbytes = self._pending_calls[request.client]
            if calls > 1:
                self._pending_calls[request.client] = calls - 1, nbytes - size
            else:
                del self._pending_calls[request.client]

    def _failed(self, request: Any, error: BaseException) -> None:
        if isinstance(error, RPCError):
            text = str(error) or "Exception"
            params = printable(self.hide_secrets(request.params))
            log_about(
                request.client,
                f'{printable(text)} in RPC service "{self.name}", call: '
                f"{printable(request.command)} {params}",
                level=logging.INFO,
            )
        elif isinstance(error, BrokerUnavailable):
            text = UNAVAILABLE
            metrics.rpc_unavailable += 1
            log_about(
                request.client,
                f'{printable(str(error))} in RPC service "{self.name}", call: '
                f"{printable(request.command)}",
                level=logging.INFO,
            )
        elif getattr(request, "debug", False):
            raise error
        else:
            text = "Internal error"
            metrics.rpc_exceptions += 1
            log_about(
                request.client,
                f'Unhandled exception in RPC service "{self.name}": '
                f"{printable(request.format_call())}",
                level=logging.ERROR,
                exc_info=error,
            )
        if not request.resolved:
            request.error(text)


def _size_of(params: Any) -> int:
    try:
        return len(encode(params))
    except (TypeError, ValueError):  # not from a client: those send JSON
        return 0
