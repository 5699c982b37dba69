"""Snorky: the real-time server beside your web application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snorky.service_registry import ServiceRegistry

__version__ = version = "1.0.0.dev0"

__all__ = ["ServiceRegistry", "__version__", "version"]


def __getattr__(name: str) -> Any:
    # At its first use: web applications import snorky.backend, and nothing of the server with it.
    if name == "ServiceRegistry":
        from snorky.service_registry import ServiceRegistry

        return ServiceRegistry
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
