"""A revision of Alembic: the tasks, and the outbox beside them."""

import sqlalchemy as sa
from alembic import op

from snorky.backend.sqlalchemy import create_outbox, drop_outbox

revision = "5e0bd7"
down_revision = None


def upgrade():
    op.create_table(
        "tasks",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("team", sa.Integer, nullable=False),
        sa.Column("title", sa.String, nullable=False),
        sa.Column("done", sa.Boolean, nullable=False),
    )
    create_outbox(op.get_bind())


def downgrade():
    drop_outbox(op.get_bind())
    op.drop_table("tasks")
