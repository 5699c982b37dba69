"""Which models publish their changes, under which names, and whose rows change with whose.

A row of a subscribable class changes when the row itself is saved, when the part of it that a
parent holds is saved (multi-table inheritance), and when a row changes that it shows (``follows``).
"""

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any, NamedTuple

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db.models import ManyToManyField, Model, deletion
from django.db.models.fields.related import RelatedField, lazy_related_operation


class Dependent(NamedTuple):
    """Rows of ``model`` are found by ``lookup``, given the key of the row that is written."""

    model: type[Model]
    lookup: str


class Member(NamedTuple):
    """Rows of ``model``, found by ``lookup``, show what a row that joins them to others says.

    ``attname`` is where that row, of a many-to-many relation, has their key.
    """

    model: type[Model]
    lookup: str
    attname: str


# Models that hold rows -> the subscribable classes over those rows, proxies included.
_subscribable: dict[type[Model], list[type[Model]]] = {}
_names: dict[str, type[Model]] = {}
_followers: dict[type[Model], list[Dependent]] = {}
_members: dict[type[Model], list[Member]] = {}


def register(model: type[Model], name: str) -> None:
    """Enter a class under a name. Raises ImproperlyConfigured where another one has the name."""
    holder = _names.setdefault(name, model)
    # A module that is loaded again replaces its own classes.
    if holder._meta.label != model._meta.label:
        raise ImproperlyConfigured(
            f"{holder._meta.label} and {model._meta.label} would both be called {name!r} in "
            f"subscriptions: give one of them another name, @subscribable(name=...)"
        )
    _names[name] = model
    for other in [other for other, owner in _names.items() if owner is model and other != name]:
        del _names[other]
    models = _subscribable.setdefault(table_of(model), [])
    models[:] = [known for known in models if known._meta.label != model._meta.label]
    models.append(model)
    _forget_concerns()


def follow(
    model: type[Model],
    lookup: str,
    watch: Callable[[type[Model]], None],
    *,
    many_to_many: bool = False,
) -> None:
    """Note each model on the way of a lookup: a row of any of them may change what is shown.

    ``watch`` is called with each of them, and their relatives, once they are loaded.
    """

    def step(owner: type[Model], done: list[str], path: str) -> None:
        name, _, rest = path.partition("__")
        field = owner._meta.get_field(name)
        if not isinstance(field, RelatedField):
            raise ImproperlyConfigured(
                f"{model.__name__} cannot follow {lookup!r}: {name!r} of {owner.__name__} is no "
                "foreign key"
            )
        related = field.remote_field.model
        if isinstance(field, ManyToManyField):
            if not many_to_many:
                raise ImproperlyConfigured(
                    f"{model.__name__} cannot follow {lookup!r}: many-to-many relations are seen "
                    f'by the outbox of the ORM alone, SNORKY_OUTBOX = "orm"'
                )
            through: Any = field.remote_field.through
            lazy_related_operation(join, owner, related, through, field=field, done=done)
        lazy_related_operation(resolve, owner, related, done=[*done, name], rest=rest)

    def join(
        owner: type[Model],
        related: type[Model],
        through: type[Model],
        *,
        field: "ManyToManyField[Any, Any]",
        done: list[str],
    ) -> None:
        link: Any = through._meta.get_field(field.m2m_field_name())
        attname = link.attname
        member = Member(model, "__".join([*done, "pk"]), attname)
        members = _members.setdefault(table_of(through), [])
        if member not in members:
            members.append(member)
        _forget_concerns()

    def resolve(owner: type[Model], related: type[Model], *, done: list[str], rest: str) -> None:
        followers = _followers.setdefault(table_of(related), [])
        dependent = Dependent(model, "__".join(done))
        if dependent not in followers:
            followers.append(dependent)
        _forget_concerns()
        for member in relatives_of(related):
            watch(member)
        if rest:
            step(related, done, rest)

    step(model, [], lookup)


def is_subscribable(model: type[Model]) -> bool:
    return model in _names.values()


def wire_name(model: type[Model]) -> str:
    """What a model is called in subscriptions and deltas: its class's name unless it says other."""
    return next((name for name, owner in _names.items() if owner is model), model.__name__)


def subscribable_models() -> dict[str, type[Model]]:
    """The classes by their names."""
    return dict(_names)


def table_of(model: type[Model]) -> type[Model]:
    """The class that holds the rows of ``model``: itself, or what it is a proxy of."""
    table = model._meta.concrete_model
    assert table is not None, "only abstract models have none"
    return table


def classes_over(table: type[Model]) -> list[type[Model]]:
    """The subscribable classes whose rows ``table`` holds."""
    return _subscribable.get(table, [])


def tables_written_by(sender: type[Model]) -> Iterator[type[Model]]:
    """The models whose rows a save of ``sender`` writes, parents first."""
    for table in reversed(sender.__mro__):
        meta = getattr(table, "_meta", None)
        if meta is not None and not meta.abstract and meta.concrete_model is table:
            yield table


def dependents_of(sender: type[Model], table: type[Model]) -> Iterator[Dependent]:
    """What else changes when ``sender`` writes a row of ``table``."""
    for other, models in _subscribable.items():
        # The rows of these are parts of the same instance, or of another child.
        if issubclass(other, table) and not issubclass(sender, other):
            for model in models:
                yield Dependent(model, _lookup_of_parent(other, table))
    yield from _followers.get(table, [])


def members_of(table: type[Model]) -> list[Member]:
    """Whose rows show what the rows of ``table`` join."""
    return _members.get(table, [])


@cache
def is_concerned(model: type[Model]) -> bool:
    """Whether a write of ``model`` may change a subscribable row."""
    return any(
        table in _followers
        or table in _members
        or any(issubclass(other, table) for other in _subscribable)
        for table in tables_written_by(model)
    )


def is_of_migration(model: type[Model]) -> bool:
    """Whether it is made up by a migration, for a table as it is there and then."""
    return model.__module__ == "__fake__"


def concerned_by_name(model: type[Model]) -> type[Model] | None:
    """The concerned model whose table ``model`` of a migration writes, if there is one."""
    return next(
        (
            own
            for own in apps.get_models(include_auto_created=True)
            if own._meta.db_table == model._meta.db_table and is_concerned(own)
        ),
        None,
    )


def cascades_of_the_database() -> Iterator[Any]:
    """The foreign keys by which the database itself would change rows that somebody subscribes to.

    Django has them from 6.1 on, ``on_delete=DB_CASCADE`` and the like.
    """
    kind = getattr(deletion, "DatabaseOnDelete", ())
    for model in apps.get_models(include_auto_created=True):
        if is_concerned(model):
            for field in model._meta.local_fields:
                if isinstance(getattr(field.remote_field, "on_delete", None), kind):
                    yield field


def _forget_concerns() -> None:
    is_concerned.cache_clear()


def family_of(model: type[Model]) -> Iterator[type[Model]]:
    """``model`` and all classes derived from it."""
    yield model
    for subclass in model.__subclasses__():
        yield from family_of(subclass)


def relatives_of(model: type[Model]) -> Iterable[type[Model]]:
    """All classes whose rows share a table with ``model``: of parents and children, too."""
    return {member for table in tables_written_by(model) for member in family_of(table)}


def _lookup_of_parent(child: type[Model], parent: type[Model]) -> str:
    names = []
    while child is not parent:
        link = child._meta.get_ancestor_link(parent)
        assert link is not None, f"{parent} is a parent of {child}"
        names.append(link.name)
        child = link.remote_field.model
    return "__".join(names)
