"""What @subscribable costs, in queries and in time: python cost.py, beside snorky serve live.py"""

import os
import time

import django
from django.conf import settings

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["rest_framework"],
    SNORKY_BACKEND_URL=os.environ.get("SNORKY_BACKEND_URL", "http://127.0.0.1:5002/backend"),
    SNORKY_API_KEY=os.environ["SNORKY_API_KEY"],
)
django.setup()

from django.db import connection, models, transaction  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402

from snorky.backend.django import subscribable  # noqa: E402


class Task(models.Model):
    title = models.CharField(max_length=200)

    class Meta:
        abstract = True
        app_label = "cost"


class Plain(Task):
    pass


@subscribable
class Live(Task):
    pass


def insert(model):
    model.objects.create(title="new")


def update(model):
    task = model.objects.first()
    task.title = "changed"
    task.save()


def delete(model):
    model.objects.first().delete()


def queries(write, model):
    with CaptureQueriesContext(connection) as captured:
        write(model)
    return len([query for query in captured if query["sql"] not in ("BEGIN", "COMMIT")])


def milliseconds(write, model, times, in_one_transaction):
    for _ in range(times):
        model.objects.create(title="new")
    begun = time.perf_counter()
    if in_one_transaction:
        with transaction.atomic():
            for _ in range(times):
                write(model)
    else:
        for _ in range(times):
            write(model)
    return 1000 * (time.perf_counter() - begun) / times


with connection.schema_editor() as editor:
    for model in (Plain, Live):
        editor.create_model(model)

for write in (insert, update, delete):
    Plain.objects.create(title="old"), Live.objects.create(title="old")
    print(f"{write.__name__}: {queries(write, Plain)} -> {queries(write, Live)} queries")
for times, at_once in ((50, False), (50, True)):
    plain, live = (milliseconds(update, model, times, at_once) for model in (Plain, Live))
    where = "in one transaction" if at_once else "each by itself"
    print(f"update {where}: {plain:.2f} -> {live:.2f} ms")
