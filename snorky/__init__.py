"""Snorky: the real-time server beside your web application."""

from snorky.service_registry import ServiceRegistry

__version__ = version = "1.0.0.dev0"

__all__ = ["ServiceRegistry", "__version__", "version"]
