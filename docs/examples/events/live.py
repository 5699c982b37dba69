from snorky import ServiceRegistry
from snorky.services.events import EventsBackend, EventsService

events = EventsService("events")
frontend = ServiceRegistry([events])
backend = ServiceRegistry([EventsBackend("events_backend", events)])
