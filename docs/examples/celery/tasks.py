"""A job that tells its page how far it is: celery -A tasks worker"""

import os
import time
from functools import cache

from celery import Celery

from snorky.backend import SnorkyBackend, SnorkyHTTPTransport

app = Celery("tasks", broker=os.environ.get("BROKER_URL", "redis://127.0.0.1"))
URL = os.environ.get("SNORKY_BACKEND_URL", "http://127.0.0.1:5002/backend")


@cache
def snorky():
    """One for each process of the worker: made at the first use, so after the fork."""
    transport = SnorkyHTTPTransport(URL, os.environ["SNORKY_API_KEY"], timeout=5)
    return SnorkyBackend(transport)


def tell(channel, message):
    snorky().call("jobs_backend", "publish", channel=channel, message=message)


@app.task
def report(job):
    for percent in (0, 50):
        tell(job, {"percent": percent})
        time.sleep(0.1)  # the work
    announce.delay(job, {"percent": 100})


@app.task(autoretry_for=(RuntimeError,), retry_backoff=True, max_retries=8)
def announce(channel, message):
    """Until Snorky answers. What it refuses is a SnorkyError, and tried once."""
    tell(channel, message)
