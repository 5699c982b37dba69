"""Events: who is connected to a path receives each update of it.

A page is connected by the web application, which thus decides who may: the page asks for its id,
sends it to the web application, and that tells ``EventsBackend``. Parts of this program connect
themselves.
"""

from snorky.services.events.backend import EventsBackend
from snorky.services.events.frontend import EventsService, Part, Receiver
from snorky.services.events.paths import BadPath

__all__ = ["BadPath", "EventsBackend", "EventsService", "Part", "Receiver"]
