"""The outbox, made by ``manage.py migrate``."""
