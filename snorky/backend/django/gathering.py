"""The keys under which a request's writes are told, gathered for its response."""

from contextvars import ContextVar

# None: nobody gathers them.
gathered_keys: ContextVar[list[str] | None] = ContextVar("gathered_keys", default=None)
