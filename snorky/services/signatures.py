"""Whether the params of a call fit a command, and what its annotations make of them."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from typing import Any

import msgspec

from snorky.hashable import HashableDict, HashableList, hashable

_AS_IT_IS: dict[Any, type] = {
    str: str,
    int: int,
    float: float,
    bool: bool,
    list[Any]: HashableList,
    dict[str, Any]: HashableDict,
}
"""Annotations, and the type of the values that they leave as they are."""


class InvalidParams(ValueError):
    """The params do not fit the command's signature."""


class Signature:
    """The parameters of a command after the first one, the request.

    Parameters with an annotation are checked against it and converted (a datetime from its ISO
    text, a dataclass from an object); those without take any JSON value.
    """

    __slots__ = ("_converted", "_names", "_required", "_taken", "_takes_any_name")

    def __init__(self, function: Callable[..., Any], before_request: int) -> None:
        every = list(inspect.signature(function).parameters.values())
        by_position, parameters = every[: before_request + 1], every[before_request + 1 :]
        _check_can_be_called(function, by_position[before_request:], parameters)
        self._taken = frozenset(parameter.name for parameter in by_position)
        named = [
            parameter
            for parameter in parameters
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        ]
        self._names = frozenset(parameter.name for parameter in named)
        self._required = frozenset(
            parameter.name for parameter in named if parameter.default is parameter.empty
        )
        self._takes_any_name = any(
            parameter.kind is parameter.VAR_KEYWORD for parameter in parameters
        )
        annotated = [
            parameter for parameter in named if parameter.annotation is not parameter.empty
        ]
        kinds = {
            parameter.name: _annotation(function, parameter)
            for parameter in annotated
            if parameter.annotation not in (Any, "Any", object)
        }
        self._converted = {name: (kind, _as_it_is(kind)) for name, kind in kinds.items()}

    def fit(self, params: Any) -> dict[str, Any]:
        """Return the keyword arguments that ``params`` make. Raises InvalidParams."""
        if not isinstance(params, dict):
            raise InvalidParams(f"expected an object, got {type(params).__name__}")
        names = params.keys()
        if not self._required <= names:
            raise InvalidParams(f"missing: {', '.join(sorted(self._required - names))}")
        if not names <= self._names and not (
            self._takes_any_name and names.isdisjoint(self._taken)
        ):
            raise InvalidParams(f"not expected: {', '.join(sorted(names - self._names))}")
        if not self._converted:
            return params
        converted = dict(params)
        for name, (kind, as_it_is) in self._converted.items():
            if name in converted and type(converted[name]) is not as_it_is:
                try:
                    converted[name] = hashable(msgspec.convert(converted[name], kind))
                except (msgspec.ValidationError, RecursionError, UnicodeError) as error:
                    # UnicodeError: msgspec cannot look into half an emoji, which JSON may hold.
                    raise InvalidParams(f"{name}: {error}") from error
        return converted


@functools.lru_cache(maxsize=4096)
def signature_of(function: Callable[..., Any], before_request: int) -> Signature:
    """The signature of a command, read once.

    ``before_request`` parameters come before the request: 1 for the function of a method (self).
    Raises TypeError where the function can be no command.
    """
    return Signature(function, before_request)


def _check_can_be_called(
    function: Callable[..., Any],
    request: list[inspect.Parameter],
    parameters: list[inspect.Parameter],
) -> None:
    if not request or request[0].kind not in (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    ):
        raise TypeError(
            f"the first parameter of a command is its request; {_name_of(function)} has none"
        )
    for parameter in parameters:
        if parameter.kind is parameter.POSITIONAL_ONLY and parameter.default is parameter.empty:
            raise TypeError(
                f"parameter {parameter.name} of {_name_of(function)} cannot be given by name"
            )


def _annotation(function: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    annotation = parameter.annotation
    if isinstance(annotation, str):
        # The parameter's own annotation alone: the others may name what exists only for type
        # checkers.
        holder = type("holder", (), {"__annotations__": {parameter.name: annotation}})
        scope = getattr(inspect.unwrap(function), "__globals__", {})
        try:
            annotation = typing.get_type_hints(holder, scope, include_extras=True)[parameter.name]
        except NameError as error:
            raise TypeError(
                f"the annotation of parameter {parameter.name} of {_name_of(function)} "
                f"cannot be resolved: {error}"
            ) from error
    try:
        msgspec.json.Decoder(annotation)  # what msgspec cannot check, it says at the first use
    except TypeError as error:
        raise TypeError(
            f"parameter {parameter.name} of {_name_of(function)} cannot be checked: {error}"
        ) from error
    return annotation


def _as_it_is(kind: Any) -> type | None:
    try:
        return _AS_IT_IS.get(kind)
    except TypeError:  # an annotation that cannot be hashed
        return None


def _name_of(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", repr(function))
