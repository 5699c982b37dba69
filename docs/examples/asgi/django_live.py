"""Django: services at /ws beside the views, for those who have logged in."""

import asyncio

import uvicorn
from asgiref.sync import async_to_sync
from django.conf import settings

settings.configure(
    SECRET_KEY="for the example only: keep yours out of the code",
    ALLOWED_HOSTS=["localhost", "127.0.0.1"],
    ROOT_URLCONF=__name__,
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
)

from django.contrib.sessions.backends.signed_cookies import SessionStore  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402

from snorky import ServiceRegistry  # noqa: E402
from snorky.asgi import SnorkyASGI  # noqa: E402
from snorky.identity import Refused  # noqa: E402
from snorky.services.pubsub import PubSubService  # noqa: E402

pubsub = PubSubService("pubsub")


async def log_in(request, name):
    request.session["name"] = name
    return HttpResponse(status=204)


async def announce(request):
    pubsub.do_publish("news", request.body.decode())
    return HttpResponse(status=204)


def remind(request):  # a plain view runs in a thread of its own: let the loop publish
    async_to_sync(announce)(request)
    return HttpResponse(status=204)


urlpatterns = [
    path("log-in/<name>", log_in),
    path("announce", announce),
    path("remind", remind),
]


async def authenticate(handshake):
    session = SessionStore(handshake.cookies.get(settings.SESSION_COOKIE_NAME))
    name = await asyncio.to_thread(session.get, "name")  # other session stores ask a database
    if name is None:
        raise Refused(401, "Please log in")
    return name


frontend = ServiceRegistry([pubsub], authenticate=authenticate)
app = SnorkyASGI(frontend, app=get_asgi_application())

if __name__ == "__main__":
    uvicorn.run(app, port=5001, lifespan="off")  # Django has none
