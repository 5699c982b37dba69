"""Which dealers a service has, by name and by model, and what they say of models."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeVar

from snorky.services.datasync.dealers import (
    AnyRefetchDealer,
    Dealer,
    RefetchDealer,
    SharingDealer,
    canonical_query,
)

AnyDealer = TypeVar("AnyDealer", bound=Dealer)


class Directory:
    """The dealers of one service. Several may share a model."""

    def __init__(self) -> None:
        self.by_name: dict[str, Dealer] = {}
        self.by_model: dict[str, list[Dealer]] = {}
        self.version = 0
        """Counts what registers and unregisters."""
        self._refetch = AnyRefetchDealer()

    def register(self, dealer: type[AnyDealer] | AnyDealer) -> AnyDealer:
        """Raises RuntimeError where the name is taken, or the model has another key."""
        instance = dealer() if isinstance(dealer, type) else dealer
        name = instance.name
        if name in self.by_name:
            raise RuntimeError(f"Dealer with name '{name}' already is registered.")
        model = getattr(instance, "model", None)
        if not isinstance(model, str):
            raise TypeError(f"model of dealer '{name}' must be a string; got {model!r}")
        if isinstance(instance, RefetchDealer):
            self.by_name[name] = instance
            self.version += 1
            return instance
        for other in self.by_model.get(model, ()):
            if key_fields(other) != key_fields(instance):
                raise RuntimeError(
                    f"dealers of model '{model}' must have the same key; got {instance.key!r} of "
                    f"'{name}' and {other.key!r} of '{other.name}'"
                )
        self.by_name[name] = instance
        self.by_model.setdefault(model, []).append(instance)
        self.version += 1
        return instance

    def unregister(self, dealer: Dealer) -> None:
        """Raises RuntimeError where it is not registered."""
        if self.by_name.get(dealer.name) is not dealer:
            raise RuntimeError(f"Dealer with name '{dealer.name}' is not registered.")
        del self.by_name[dealer.name]
        self.version += 1
        for model, dealers in tuple(self.by_model.items()):
            if dealer in dealers:
                dealers.remove(dealer)
                if not dealers:
                    del self.by_model[model]

    def get(self, name: str) -> Dealer | None:
        """The dealer of a name; "refetch" is there unless another took its name."""
        dealer = self.by_name.get(name)
        return self._refetch if dealer is None and name == self._refetch.name else dealer

    def key_of(self, model: str) -> tuple[str, ...] | None:
        """The fields of a model's key; None where only refetching dealers deal in it."""
        dealers = self.by_model.get(model)
        return key_fields(dealers[0]) if dealers else None


def key_fields(dealer: Dealer) -> tuple[str, ...]:
    return (dealer.key,) if isinstance(dealer.key, str) else tuple(dealer.key)


def fields_shown(dealer: Dealer) -> frozenset[str] | None:
    """The names that a dealer shows of a row, the key's among them; None: all."""
    return None if dealer.fields is None else _names((*dealer.fields, *key_fields(dealer)))


def models_of(dealer: Dealer, query: Any) -> frozenset[str]:
    """Raises BadQuery."""
    if isinstance(dealer, RefetchDealer):
        return frozenset(dealer.get_models(query))
    return _names((dealer.model,))


@lru_cache
def _names(names: tuple[str, ...]) -> frozenset[str]:
    # One object for all who have the same: every item holds it.
    return frozenset(names)


def query_key(dealer: Dealer, query: Any) -> str:
    """Equal for queries of a dealer that are the same. Raises BadQuery."""
    return dealer.get_key(query) if isinstance(dealer, SharingDealer) else canonical_query(query)


def hears_of_items(dealer: Dealer) -> bool:
    """Whether the dealer is a user's own, to be told of each item that is authorised."""
    return not isinstance(dealer, SharingDealer) or dealer.hears_of_items


def refetches(dealer: Dealer) -> bool:
    """Whether pages of the dealer are told that something changed, not what.

    So are those of a dealer that decides by itself what is delivered: what it hides must not
    reach a page because another way tells rows whole.
    """
    return isinstance(dealer, RefetchDealer) or type(dealer).deliver_delta not in (
        Dealer.deliver_delta,
        SharingDealer.deliver_delta,
    )
