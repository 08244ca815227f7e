"""Likelihood ratios, identifications, trials, reviews, tags, idempotency keys, webhooks, archived models"""

import sqlalchemy as sa
from alembic import op

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SCORES = (("llr", "llr IS NOT NULL"), ("distance", "llr IS NULL"))  # partial indexes by score


def upgrade() -> None:
    _add_likelihood_ratios()
    _add_identifications_and_trials()
    _add_reviews()
    _add_marks()
    _add_idempotency_keys()
    _add_webhooks()
    _add_partial_uploads()


def _add_likelihood_ratios() -> None:
    with op.batch_alter_table("results", schema=None) as batch_op:
        for name in ("llr", "accept_from", "reject_below"):
            batch_op.add_column(sa.Column(name, sa.Double(), nullable=True))
        batch_op.add_column(sa.Column("scale", sa.String(length=10), nullable=True))
    for score, rows in SCORES:
        where = sa.text(rows)
        columns = ["job_id", "verdict", score, "ordinal"]
        op.create_index(f"ix_results_{score}", "results", columns, sqlite_where=where, postgresql_where=where)


def _add_identifications_and_trials() -> None:
    op.create_table(
        "identifications",
        sa.Column("job_id", BIG, nullable=False),
        sa.Column("ordinal", BIG, nullable=False),
        sa.Column("entry", sa.String(length=1000), nullable=False),
        sa.Column("truth", sa.String(length=255), nullable=True),
        sa.Column("correct", sa.Boolean(), nullable=True),
        sa.Column("category", sa.String(length=255), nullable=True),
        sa.Column("nearest", sa.String(length=255), nullable=True),
        sa.Column("distance", sa.Double(), nullable=True),
        sa.Column("runner_up", sa.String(length=255), nullable=True),
        sa.Column("runner_up_distance", sa.Double(), nullable=True),
        sa.Column("code", sa.String(length=40), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_identifications_job_id_jobs")),
        sa.PrimaryKeyConstraint("job_id", "ordinal", name=op.f("pk_identifications")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "trials",
        sa.Column("job_id", BIG, nullable=False),
        sa.Column("number", BIG, nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("params", sa.JSON(), nullable=False),
        sa.Column("folds", BIG, nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("code", sa.String(length=40), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_trials_job_id_jobs")),
        sa.PrimaryKeyConstraint("job_id", "number", name=op.f("pk_trials")),
    )
    op.create_table(
        "study_events",
        sa.Column("job_id", BIG, nullable=False),
        sa.Column("number", BIG, nullable=False),
        sa.Column("event", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_study_events_job_id_jobs")),
        sa.PrimaryKeyConstraint("job_id", "number", name=op.f("pk_study_events")),
    )


def _add_reviews() -> None:
    op.create_table(
        "reviews",
        sa.Column("job_id", BIG, nullable=False),
        sa.Column("ordinal", BIG, nullable=False),
        sa.Column("decision", sa.String(length=10), nullable=False),
        sa.Column("verdict", sa.String(length=12), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("person_id", BIG, nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_reviews_job_id_jobs")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_reviews_person_id_people")),
        sa.PrimaryKeyConstraint("job_id", "ordinal", name=op.f("pk_reviews")),
        sqlite_with_rowid=False,
    )


def _add_marks() -> None:
    """What a sender calls jobs and rows by, who ends one early, and which models are kept for reading alone."""
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.add_column(sa.Column("tag", sa.String(length=80), nullable=True))
        batch_op.add_column(sa.Column("external_id", sa.String(length=255), nullable=True))
        batch_op.add_column(sa.Column("finish_by", sa.String(length=80), nullable=True))
    with op.batch_alter_table("comparisons", schema=None) as batch_op:
        batch_op.add_column(sa.Column("tag", sa.String(length=80), nullable=True))
    with op.batch_alter_table("model_versions", schema=None) as batch_op:
        batch_op.add_column(sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_jobs_tag", "jobs", ["tag", "id"])
    op.create_index("ix_jobs_external_id", "jobs", ["external_id", "id"])


def _add_idempotency_keys() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("id", BIG, nullable=False),
        sa.Column("person_id", BIG, nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("token", sa.String(length=32), nullable=False),
        sa.Column("lease_until", sa.Double(), nullable=False),
        sa.Column("job", sa.String(length=40), nullable=True),
        sa.Column("status", BIG, nullable=True),
        sa.Column("location", sa.String(length=255), nullable=True),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_idempotency_keys_person_id_people")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_idempotency_keys")),
        sa.UniqueConstraint("person_id", "key", name=op.f("uq_idempotency_keys_person_id_key")),
        sa.UniqueConstraint("token", name=op.f("uq_idempotency_keys_token")),
    )
    op.create_index(op.f("ix_idempotency_keys_created_at"), "idempotency_keys", ["created_at"])


def _add_webhooks() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", BIG, nullable=False),
        sa.Column("public_id", sa.String(length=40), nullable=False),
        sa.Column("person_id", BIG, nullable=False),
        sa.Column("url", sa.String(length=1000), nullable=False),
        sa.Column("label", sa.String(length=80), nullable=False),
        sa.Column("scope", sa.String(length=8), nullable=False),
        sa.Column("secret", sa.String(length=80), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_webhooks_person_id_people")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhooks")),
        sa.UniqueConstraint("public_id", name=op.f("uq_webhooks_public_id")),
    )
    op.create_index(op.f("ix_webhooks_person_id"), "webhooks", ["person_id"])
    op.create_table(
        "deliveries",
        sa.Column("id", BIG, nullable=False),
        sa.Column("event_id", sa.String(length=40), nullable=False),
        sa.Column("webhook_id", BIG, nullable=False),
        sa.Column("job_id", BIG, nullable=True),
        sa.Column("type", sa.String(length=20), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("tries", BIG, nullable=False),
        sa.Column("due", sa.Double(), nullable=False),
        sa.Column("attempts", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["webhook_id"], ["webhooks.id"], name=op.f("fk_deliveries_webhook_id_webhooks")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_deliveries_job_id_jobs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
        sa.UniqueConstraint("event_id", name=op.f("uq_deliveries_event_id")),
    )
    op.create_index("ix_deliveries_webhook_id", "deliveries", ["webhook_id", "id"])
    op.create_index("ix_deliveries_job_id", "deliveries", ["job_id"])
    undone = sa.text("state IN ('waiting', 'sending')")
    op.create_index("ix_deliveries_open", "deliveries", ["due"], sqlite_where=undone, postgresql_where=undone)


def _add_partial_uploads() -> None:
    """Files that are sent in parts, and when one that no job names is removed."""
    with op.batch_alter_table("uploads", schema=None) as batch_op:
        batch_op.add_column(sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True))
    some = sa.text("expires_at IS NOT NULL")
    op.create_index("ix_uploads_expires_at", "uploads", ["expires_at"], sqlite_where=some, postgresql_where=some)
    op.create_table(
        "partial_uploads",
        sa.Column("id", BIG, nullable=False),
        sa.Column("public_id", sa.String(length=40), nullable=False),
        sa.Column("person_id", BIG, nullable=False),
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("size", BIG, nullable=False),
        sa.Column("filename", sa.String(length=255), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_partial_uploads_person_id_people")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_partial_uploads")),
        sa.UniqueConstraint("public_id", name=op.f("uq_partial_uploads_public_id")),
        sa.UniqueConstraint("person_id", "digest", name=op.f("uq_partial_uploads_person_id_digest")),
    )
    op.create_index(op.f("ix_partial_uploads_expires_at"), "partial_uploads", ["expires_at"])


NEW_TABLES = (
    "identifications",
    "trials",
    "study_events",
    "reviews",
    "idempotency_keys",
    "webhooks",
    "deliveries",
    "partial_uploads",
)


def downgrade() -> None:
    for table in reversed(NEW_TABLES):
        op.drop_table(table)
    op.drop_index("ix_uploads_expires_at", "uploads")
    with op.batch_alter_table("uploads", schema=None) as batch_op:
        batch_op.drop_column("expires_at")
    op.drop_index("ix_jobs_external_id", "jobs")
    op.drop_index("ix_jobs_tag", "jobs")
    with op.batch_alter_table("comparisons", schema=None) as batch_op:
        batch_op.drop_column("tag")
    with op.batch_alter_table("model_versions", schema=None) as batch_op:
        batch_op.drop_column("archived_at")
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        for name in ("tag", "external_id", "finish_by"):
            batch_op.drop_column(name)
    for score, _ in SCORES:
        op.drop_index(f"ix_results_{score}", "results")
    with op.batch_alter_table("results", schema=None) as batch_op:
        for name in ("llr", "scale", "accept_from", "reject_below"):
            batch_op.drop_column(name)
