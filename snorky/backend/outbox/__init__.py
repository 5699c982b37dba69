"""The outbox: a table in the application's database, written in the transaction that changes rows.

Triggers write it, or hooks of an ORM; a relay reads it and tells Snorky. What a row of it means is
in `snorky.backend.outbox.table`.
"""
