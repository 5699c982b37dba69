"""Drains the outbox from inside the web application: whichever process gets the turn.

Where no relay runs, the processes that write the outbox tell Snorky themselves, after each commit.
One at a time does: by a lock beside the outbox, and by a fence of Snorky's log, which refuses who
slept and lost the lock. `postgresql` and `sqlite` know the outbox and its lock, `turns` what is
said to Snorky, `drainer` the thread that does it.
"""
