import os

# What every project has
DEBUG = True
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
SECRET_KEY = "only for this example"
ROOT_URLCONF = "jobs.urls"
INSTALLED_APPS = ["jobs"]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
]
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"  # saves us a database
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]

# Snorky
SNORKY_BACKEND_URL = "http://127.0.0.1:5002/backend"
SNORKY_API_KEY = os.environ["SNORKY_API_KEY"]
