"""What pages ask Django: to start jobs, how far they are, and whether they may hear of them.

The demo knows no users: whoever opens the page is one, by its session.
"""

import re
import secrets

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from progress.models import Job

MOST_JOBS = 20


def page(request: HttpRequest) -> HttpResponse:
    owner_of(request)
    return render(request, "progress.html", {"snorky_port": settings.SNORKY_PORT})


@require_http_methods(["GET", "POST"])
def jobs(request: HttpRequest) -> HttpResponse:
    """Answers with the user's jobs; POST starts one before."""
    mine = Job.objects.filter(owner=owner_of(request)).order_by("id")
    if request.method == "POST":
        if mine.exclude(percent=100).count() >= MOST_JOBS:
            return JsonResponse({"error": f"At most {MOST_JOBS} at a time."}, status=409)
        title = request.POST.get("title", "").strip()[:100] or "Job"
        Job.objects.create(owner=owner_of(request), title=title)
    return JsonResponse({"jobs": [job.for_json() for job in mine]})


def may_connect(request: HttpRequest, path: str) -> bool:
    """Everybody may hear of the jobs that are theirs."""
    job = re.fullmatch(r"/jobs/([0-9]{1,9})", path)
    return job is not None and Job.objects.filter(pk=job[1], owner=owner_of(request)).exists()


def owner_of(request: HttpRequest) -> str:
    owner: str = request.session.setdefault("owner", secrets.token_hex(16))
    return owner
