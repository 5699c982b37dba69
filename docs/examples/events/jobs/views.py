import secrets
import threading
import time

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST

from snorky.backend.django.events import update


def page(request):
    job = request.session.setdefault("job", secrets.token_hex(8))
    return render(request, "job.html", {"job": job})


@require_POST
def start(request):
    threading.Thread(target=work, args=[request.session["job"]], daemon=True).start()
    return HttpResponse(status=202)


def work(job):
    for percent in range(0, 101, 5):
        time.sleep(0.2)  # some work
        update(f"/jobs/{job}", percent)
