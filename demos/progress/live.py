"""Snorky's side of the demo: ``snorky serve demos/progress/live.py``.

Pages connect to ``frontend`` by WebSocket. The web application tells ``backend`` by HTTP, with the
key that is in the environment as SNORKY_API_KEY, which pages may hear of what, and what there is to
hear.
"""

from snorky import ServiceRegistry
from snorky.services.events import EventsBackend, EventsService

events = EventsService("events")

frontend = ServiceRegistry([events])
backend = ServiceRegistry([EventsBackend("events_backend", events)])
