"""Arguments of commands that name models."""

from collections.abc import Sequence

from django.apps import apps
from django.core.management.base import CommandError

from snorky.backend.django.registry import subscribable_models, wire_name


def names_of(arguments: Sequence[str]) -> list[str]:
    """What models are called in subscriptions, given their names, there or as ``app.Model``.

    Raises CommandError where one is unknown: a reset of nothing would seem to have worked.
    """
    names = []
    for argument in arguments:
        if "." in argument:
            try:
                names.append(wire_name(apps.get_model(argument)))
            except (LookupError, ValueError) as error:
                raise CommandError(f"There is no model {argument}: {error}") from error
        elif argument in subscribable_models():
            names.append(argument)
        else:
            known = ", ".join(sorted(subscribable_models())) or "none"
            raise CommandError(
                f"No subscribable model is called {argument}; expected one of {known}, or app.Model"
            )
    return names
