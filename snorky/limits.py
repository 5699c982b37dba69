"""Every size, rate and count that bounds what others can make us keep or do."""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a registry and of the services registered in it.

    On by default. Sizes are bytes, times are seconds; 0 is not "unlimited" but zero.
    """

    max_message_bytes: int = 64 * KIB
    """Longest message from a client. Past it the connection is closed with code 1009."""

    max_message_containers: int = 10_000
    """Arrays and objects in one message from a client. Past it the message is dropped, a call is
    answered ``Too many arrays and objects``: each costs thirty times its two bytes, and time."""

    max_backend_message_bytes: int = 4 * MIB
    """Longest body of a request to the HTTP back end. Past it: status 413."""

    max_unsent_bytes: int = 1 * MIB
    """What may wait for a client before the next message is added to it.

    A client that lets more pile up is disconnected (``close_codes.SLOW_CLIENT``). What was
    queued *before* a message counts, so any single message fits an empty queue.
    """

    socket_send_buffer_bytes: int = 256 * KIB
    """SO_SNDBUF of a client's socket. Left to itself the kernel swallows megabytes, and
    ``max_unsent_bytes`` would notice a slow client late."""

    max_messages_per_turn: int = 512
    """Messages of one client that are handled before other connections get their turn."""

    max_log_lines_per_client: int = 100
    """Lines in the log about what one client sent: dropped messages, refused and failed calls.
    Later ones are counted, not logged."""

    max_pending_calls: int = 64
    """Asynchronous calls of one client under way in one service. Past it: ``Too many pending
    calls``."""

    max_pending_bytes: int = 1 * MIB
    """The parameters of these calls, as JSON, where there is more than one. Past it: ``Too many
    pending calls``."""

    command_timeout: float = 60.0
    """How long an asynchronous command may take. Past it it is cancelled: ``Command timed out``."""

    max_subscriptions: int = 1000
    """Subscriptions of one client in one service. Past it: ``Too many subscriptions``. Channels of
    a Chat and documents of a Cursors service count alike: ``Too many channels``, ``Too many
    documents``."""

    max_channel_bytes: int = 4 * KIB
    """A channel as JSON with sorted keys, and a document of a Cursors service. Past it: ``Channel
    too large``, ``Document too large``."""

    max_listed_bytes: int = 512 * KIB
    """What is told at once of everybody who is there: the names of a Messaging service (past it
    ``listParticipants`` is answered ``Too many participants``), and the cursors of a document (past
    it none is added: ``Too many cursors in the document``)."""

    max_members: int = 10_000
    """Identities in a channel that tells who is there: a Chat's, or a PubSub channel with presence.
    Past it nobody is told who comes and goes, but how many there are, at most once a second."""

    max_names: int = 100
    """Names of one client in one Messaging service. Past it: ``Too many names``."""

    max_name_length: int = 256
    """Characters of such a name: everybody is sent all of them. Past it: ``Name too long``."""

    max_cursors: int = 16
    """Cursors of one client in one Cursors service. Past it: ``Too many cursors``."""

    max_cursor_bytes: int = 4 * KIB
    """A cursor's notification (document, position, status, owner) with its private handle. Past
    it: ``Cursor too large``."""

    max_subscription_items: int = 1000
    """Items of one DataSync subscription. Past it: ``Too many items``."""

    max_unacquired_tokens: int = 10_000
    """DataSync tokens of one service that are kept until they are used: those whose dealers are
    told of each (past it who has most is refused: ``Too many unacquired tokens``), and those too
    large for a header (past it the oldest goes)."""

    max_kept_deltas: int = 1000
    """Deltas that acquiring a token may have to deliver. Past it the token dies."""

    max_kept_bytes: int = 256 * KIB
    """Their size. Past it the token dies. Less than ``max_unsent_bytes``: they are sent at once."""

    backend_timeout: float = 30.0
    """How long a request to the HTTP back end waits for the service's answer. Past it: 504."""

    handshake_timeout: float = 10.0
    """How long a connection may take to say what it wants, and ``authenticate`` to admit it. Past
    it the connection is cut, or refused with status 503."""

    write_timeout: float = 60.0
    """How long a connection of ``snorky serve`` that carries plain HTTP may take nothing of what is
    written to it. Past it it is cut."""

    max_connections: int = 100_000
    """Connections of ``snorky serve``'s front end, plain HTTP included, and sessions of a Socket.IO
    address. Past it a newcomer is refused with status 503. Where the system allows fewer, ``snorky
    serve`` says so and takes fewer. The other addresses of a program that calls ``listen`` itself
    have Tornado's limits: none."""

    close_timeout: float = 5.0
    """How long a closing connection may take to say goodbye before it is cut."""


DEFAULT_LIMITS = Limits()
