"""Models of a small project, one for each way a row may change."""

import json
import uuid
from importlib.util import find_spec
from typing import Any

from django.db import models
from django.db.models.functions import Upper

from snorky.backend.django import subscribable


@subscribable
class Task(models.Model):
    """Everything by default: key `id`, rendered by Django REST Framework."""

    title = models.CharField(max_length=100)
    completed = models.BooleanField(default=False)
    due = models.DateField(null=True)
    votes = models.IntegerField(default=0)
    details = models.JSONField(default=dict)


class UrgentTask(Task):
    """A proxy: the same rows."""

    class Meta:
        proxy = True

    def jsonify(self) -> dict[str, Any]:
        raise AssertionError("its rows are published as those of Task")


class Named(models.Model):
    """Abstract: it has no rows, its columns are those of its children."""

    name = models.CharField(max_length=100)

    class Meta:
        abstract = True


@subscribable
class Topic(Named):
    """Takes its columns from an abstract class."""


class Remark(Named):
    """The same, and nobody is told about remarks."""


@subscribable
class Country(models.Model):
    """A key with another name, set by hand."""

    code = models.CharField(max_length=2, primary_key=True)
    name = models.CharField(max_length=100)


@subscribable
class City(models.Model):
    """Deleted with its country; its key is made by the application. Gives JSON text."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.CharField(max_length=100)
    country = models.ForeignKey(Country, on_delete=models.CASCADE)

    def jsonify(self) -> str:
        return json.dumps({"id": str(self.id), "city": self.name, "country": self.country.name})


@subscribable
class Seat(models.Model):
    """A key of two columns."""

    pk = models.CompositePrimaryKey("row", "number")
    row = models.IntegerField()
    number = models.IntegerField()
    taken = models.BooleanField(default=False)

    def jsonify(self) -> dict[str, Any]:
        return {"row": self.row, "number": self.number, "taken": self.taken}


class NoDrafts(models.Manager["Place"]):
    def get_queryset(self) -> models.QuerySet["Place"]:
        return super().get_queryset().exclude(name="draft")


@subscribable
class Place(models.Model):
    """A parent, with a manager that hides rows."""

    name = models.CharField(max_length=100)
    objects = NoDrafts()


@subscribable
class Restaurant(Place):
    """A child with a table of its own."""

    stars = models.IntegerField(default=0)


class Bar(Restaurant):
    """A grandchild that is not subscribable itself."""

    beers = models.IntegerField(default=0)


class Measurement(models.Model):
    """Made subscribable by the tests that need it, by a proxy."""

    value = models.FloatField()


@subscribable
class Reading(Measurement):
    class Meta:
        proxy = True

    def jsonify(self) -> dict[str, Any]:
        return {"id": self.pk, "value": self.value}


@subscribable
class Meeting(models.Model):
    """Held at an instant."""

    at = models.DateTimeField()


@subscribable
class Person(models.Model):
    """A key of another name, after a column that the database fills; and a file."""

    upper = models.GeneratedField(
        expression=Upper("name"), output_field=models.CharField(max_length=50), db_persist=True
    )
    name = models.CharField(max_length=50)
    code = models.CharField(max_length=10, primary_key=True)
    photo = models.ImageField() if find_spec("PIL") else models.FileField()


@subscribable
class Account(models.Model):
    """Nothing but a key."""


@subscribable
class Team(models.Model):
    name = models.CharField(max_length=50)


class Project(models.Model):
    """Not subscribable, but shown in tickets."""

    name = models.CharField(max_length=50)
    team = models.ForeignKey(Team, on_delete=models.CASCADE)


@subscribable(name="WorkTicket", follows=["project", "project__team"])
class Ticket(models.Model):
    """Shows whose it is: two tables away."""

    title = models.CharField(max_length=50)
    project = models.ForeignKey(Project, on_delete=models.SET_NULL, null=True)

    def jsonify(self) -> dict[str, Any]:
        project = self.project
        return {
            "id": self.pk,
            "title": self.title,
            "project": project and project.name,
            "team": project and project.team.name,
        }


class Note(models.Model):
    """Nobody is told about notes."""

    text = models.CharField(max_length=100)


class Label(models.Model):
    name = models.CharField(max_length=50)


class Article(models.Model):
    """Shows its labels; made subscribable by the tests that switch the outbox on."""

    title = models.CharField(max_length=50)
    labels = models.ManyToManyField(Label)
    reviewer = models.ForeignKey(Account, on_delete=models.SET_NULL, null=True)

    def jsonify(self) -> dict[str, Any]:
        labels = self.labels.order_by("name").values_list("name", flat=True)
        return {"id": self.pk, "title": self.title, "labels": list(labels)}
