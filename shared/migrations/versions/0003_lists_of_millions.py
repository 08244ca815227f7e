"""What kind of answer an identification has, and indexes to read a million of them by kind and by distance"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

INDEXES = (
    ("ix_identifications_answer", ("answer", "ordinal")),
    ("ix_identifications_distance", ("answer", "distance", "ordinal")),
    ("ix_identifications_correct", ("correct", "ordinal")),
    ("ix_identifications_correct_distance", ("correct", "distance", "ordinal")),
)


def upgrade() -> None:
    op.add_column("identifications", sa.Column("answer", sa.String(length=8), server_default="error", nullable=False))
    op.execute(
        "UPDATE identifications SET answer = CASE WHEN nearest IS NULL THEN 'error'"
        " WHEN category IS NULL THEN 'none' ELSE 'named' END"
    )
    for name, columns in INDEXES:
        op.create_index(name, "identifications", ["job_id", *columns])


def downgrade() -> None:
    for name, _ in reversed(INDEXES):
        op.drop_index(name, "identifications")
    op.drop_column("identifications", "answer")
