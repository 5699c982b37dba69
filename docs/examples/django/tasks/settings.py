import os
from importlib.resources import files
from pathlib import Path

# What every project has
BASE_DIR = Path(__file__).resolve().parent.parent
DEBUG = True
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
SECRET_KEY = "only for this example"
ROOT_URLCONF = "tasks.urls"
INSTALLED_APPS = ["django.contrib.staticfiles", "rest_framework", "tasks"]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "tasks.sqlite3"}
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "static/"

# This example knows no users; JSON alone, so that no form of another site can post to it
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "UNAUTHENTICATED_USER": None,
}

# Snorky
SNORKY_BACKEND_URL = "http://127.0.0.1:5002/backend"
SNORKY_API_KEY = os.environ["SNORKY_API_KEY"]
STATICFILES_DIRS = [("snorky", str(files("snorky") / "static"))]  # its client, for the page
