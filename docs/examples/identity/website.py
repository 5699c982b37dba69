"""A Django project in one file, with the view that tells Snorky who somebody is.

/login stands for a page where people log in.
"""

import secrets
import sys
from wsgiref.simple_server import make_server

from django.conf import settings
from django.contrib.auth import login
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import path
from django.views.decorators.cache import never_cache

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    ROOT_URLCONF=__name__,
    SECRET_KEY=secrets.token_urlsafe(),
)
application = get_wsgi_application()


@never_cache
def whoami(request):
    if not request.user.is_authenticated:
        return JsonResponse({}, status=401)
    seconds = request.session.get_expiry_age()
    return JsonResponse({"identity": request.user.get_username(), "expiresIn": seconds})


def log_alice_in(request):
    from django.contrib.auth.models import User

    user, _ = User.objects.get_or_create(username="alice")
    login(request, user)
    return JsonResponse({})


urlpatterns = [path("whoami", whoami), path("login", log_alice_in)]

if __name__ == "__main__":
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    server = make_server("127.0.0.1", int(sys.argv[1]), application)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
