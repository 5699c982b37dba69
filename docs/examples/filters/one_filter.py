"""One filter for the query, the subscription, and a row in the hand."""

import sqlite3
from datetime import datetime
from decimal import Decimal

from snorky.filters import FilterIndex, all_of, field, filter_matches, to_sql

COLUMNS = {"id": int, "title": str, "state": str, "price": Decimal, "due": datetime, "team": int}
TYPES = {"price": Decimal, "due": datetime}

# What the page asked for, as it came; and what it may not take away.
asked = ["or", ["<", "price", "9.50"], ["startswith", "title", "Tea"]]
mine = all_of(field("team") == 3, asked)

# The query.
database = sqlite3.connect(":memory:")
database.execute(
    "CREATE TABLE orders (id INT, title TEXT, state TEXT, price NUMERIC, due TEXT, team INT)"
)
database.execute(
    "INSERT INTO orders VALUES (1, 'Cake', 'new', 9.4, NULL, 3), (2, 'Tart', 'new', 10, NULL, 3)"
)
condition = to_sql(mine, COLUMNS, "sqlite")
found = database.execute(f"SELECT id FROM orders WHERE {condition.text}", condition.parameters)
print([number for (number,) in found])  # [1]

# A row in the hand, as JSON has it.
print(filter_matches({"title": "Tea", "price": "100.00", "team": 3}, mine, TYPES))  # True
print(filter_matches({"title": "Tea", "price": "100.00", "team": 4}, mine, TYPES))  # False

# Many filters for one row: what a FilterDealer does.
index: FilterIndex[str] = FilterIndex(TYPES)
handle = index.add(mine, "page 1")
index.add(["in", "state", ["done", "dropped"]], "page 2")
print(index.match({"title": "Tea", "price": "8.00", "team": 3, "state": "done"}))
print(index.explain({"title": "Tea", "price": "8.00", "team": 3, "state": "done"}))
index.remove(handle)
