"""The same, with the relay inside: snorky serve one_program.py"""

import os

from live import backend, frontend

from snorky.backend.outbox import Relay

relay = Relay(os.environ["DATABASE_URL"])

__all__ = ["backend", "frontend", "relay"]
