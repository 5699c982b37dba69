"""Tickets as the API shows them: snorky relay ... --represent shown:rows"""


def ticket(row):
    """The model and the row that pages see, of a row of the table alone."""
    state = "closed" if row["closed"] else "open"
    return "Ticket", {"id": row["id"], "team": row["team"], "title": row["title"], "state": state}


rows = {"tickets": ticket}
