"""The first tables"""

import sqlalchemy as sa
from alembic import op

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _create_models_and_people()
    _create_uploads_and_keys()
    _create_jobs()
    _create_images_and_chunks()
    _create_results()


def _create_models_and_people() -> None:
    op.create_table(
        "model_versions",
        sa.Column("id", BIG, nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("version", BIG, nullable=False),
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("blob", sa.String(length=160), nullable=False),
        sa.Column("network", sa.String(length=40), nullable=False),
        sa.Column("threshold", sa.Double(), nullable=False),
        sa.Column("summary", sa.JSON(), nullable=False),
        sa.Column("job_id", BIG, nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_versions")),
        sa.UniqueConstraint("name", "version", name=op.f("uq_model_versions_name_version")),
    )
    with op.batch_alter_table("model_versions", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_model_versions_digest"), ["digest"], unique=False)

    op.create_table(
        "people",
        sa.Column("id", BIG, nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("password_hash", sa.String(length=255), nullable=False),
        sa.Column("must_change_password", sa.Boolean(), nullable=False),
        sa.Column("session_stamp", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_people")),
        sa.UniqueConstraint("name", name=op.f("uq_people_name")),
    )


def _create_uploads_and_keys() -> None:
    op.create_table(
        "uploads",
        sa.Column("id", BIG, nullable=False),
        sa.Column("public_id", sa.String(length=40), nullable=False),
        sa.Column("blob", sa.String(length=160), nullable=False),
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("size", BIG, nullable=False),
        sa.Column("filename", sa.String(length=255), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_uploads")),
        sa.UniqueConstraint("public_id", name=op.f("uq_uploads_public_id")),
    )
    with op.batch_alter_table("uploads", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_uploads_digest"), ["digest"], unique=False)

    op.create_table(
        "api_keys",
        sa.Column("id", BIG, nullable=False),
        sa.Column("person_id", BIG, nullable=False),
        sa.Column("label", sa.String(length=80), nullable=False),
        sa.Column("prefix", sa.String(length=16), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_api_keys_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("digest", name=op.f("uq_api_keys_digest")),
    )
    op.create_table(
        "audit_events",
        sa.Column("id", BIG, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("person_id", BIG, nullable=True),
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=120), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_audit_events_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_events")),
    )
    with op.batch_alter_table("audit_events", schema=None) as batch_op:
        batch_op.create_index("ix_audit_events_subject", ["subject", "id"], unique=False)


def _create_jobs() -> None:
    op.create_table(
        "embeddings",
        sa.Column("model_id", BIG, nullable=False),
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["model_versions.id"], name=op.f("fk_embeddings_model_id")),
        sa.PrimaryKeyConstraint("model_id", "digest", name=op.f("pk_embeddings")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "jobs",
        sa.Column("id", BIG, nullable=False),
        sa.Column("public_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("label", sa.String(length=255), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("attempt", BIG, nullable=False),
        sa.Column("upload_id", BIG, nullable=True),
        sa.Column("model_id", BIG, nullable=True),
        sa.Column("person_id", BIG, nullable=True),
        sa.Column("fence", BIG, nullable=False),
        sa.Column("lease_until", sa.Double(), nullable=False),
        sa.Column("owner", sa.String(length=120), nullable=True),
        sa.Column("claims", BIG, nullable=False),
        sa.Column("rung_at", sa.Double(), nullable=False),
        sa.Column("intake_done", sa.Boolean(), nullable=False),
        sa.Column("chunks_left", BIG, nullable=False),
        sa.Column("phase", sa.String(length=80), nullable=False),
        sa.Column("total", BIG, nullable=False),
        sa.Column("done", BIG, nullable=False),
        sa.Column("accept", BIG, nullable=False),
        sa.Column("review", BIG, nullable=False),
        sa.Column("reject", BIG, nullable=False),
        sa.Column("unscorable", BIG, nullable=False),
        sa.Column("error_code", sa.String(length=40), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("faults", sa.JSON(), nullable=False),
        sa.Column("report", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["model_id"], ["model_versions.id"], name=op.f("fk_jobs_model_id")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_jobs_person_id")),
        sa.ForeignKeyConstraint(["upload_id"], ["uploads.id"], name=op.f("fk_jobs_upload_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("public_id", name=op.f("uq_jobs_public_id")),
    )
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.create_index("ix_jobs_state", ["state", "kind"], unique=False)

    op.create_table(
        "model_aliases",
        sa.Column("alias", sa.String(length=40), nullable=False),
        sa.Column("model_id", BIG, nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["model_versions.id"], name=op.f("fk_model_aliases_model_id")),
        sa.PrimaryKeyConstraint("alias", name=op.f("pk_model_aliases")),
    )


def _create_images_and_chunks() -> None:
    op.create_table(
        "regions",
        sa.Column("id", BIG, nullable=False),
        sa.Column("upload_id", BIG, nullable=False),
        sa.Column("name", sa.String(length=1200), nullable=False),
        sa.Column("entry", sa.String(length=1000), nullable=False),
        sa.Column("offset", BIG, nullable=True),
        sa.Column("packed_size", BIG, nullable=True),
        sa.Column("size", BIG, nullable=True),
        sa.Column("method", BIG, nullable=True),
        sa.Column("crc", BIG, nullable=True),
        sa.Column("page", BIG, nullable=False),
        sa.Column("box", sa.String(length=60), nullable=True),
        sa.Column("digest", sa.String(length=80), nullable=True),
        sa.Column("height", BIG, nullable=True),
        sa.Column("width", BIG, nullable=True),
        sa.Column("code", sa.String(length=40), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["upload_id"], ["uploads.id"], name=op.f("fk_regions_upload_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_regions")),
        sa.UniqueConstraint("upload_id", "name", name=op.f("uq_regions_upload_id_name")),
    )
    with op.batch_alter_table("regions", schema=None) as batch_op:
        batch_op.create_index("ix_regions_digest", ["digest"], unique=False)

    op.create_table(
        "chunks",
        sa.Column("id", BIG, nullable=False),
        sa.Column("job_id", BIG, nullable=False),
        sa.Column("first", BIG, nullable=False),
        sa.Column("last", BIG, nullable=False),
        sa.Column("priority", BIG, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("fence", BIG, nullable=False),
        sa.Column("tries", BIG, nullable=False),
        sa.Column("lease_until", sa.Double(), nullable=False),
        sa.Column("owner", sa.String(length=120), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_chunks_job_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chunks")),
        sa.UniqueConstraint("job_id", "first", name=op.f("uq_chunks_job_id_first")),
    )
    with op.batch_alter_table("chunks", schema=None) as batch_op:
        batch_op.create_index(
            "ix_chunks_open",
            ["priority", "id"],
            unique=False,
            sqlite_where=sa.text("state IN ('waiting', 'claimed')"),
            postgresql_where=sa.text("state IN ('waiting', 'claimed')"),
        )


def _create_results() -> None:
    op.create_table(
        "epochs",
        sa.Column("job_id", BIG, nullable=False),
        sa.Column("epoch", BIG, nullable=False),
        sa.Column("loss", sa.Double(), nullable=False),
        sa.Column("validation_loss", sa.Double(), nullable=True),
        sa.Column("validation_eer", sa.Double(), nullable=False),
        sa.Column("learning_rate", sa.Double(), nullable=False),
        sa.Column("images", BIG, nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_epochs_job_id")),
        sa.PrimaryKeyConstraint("job_id", "epoch", name=op.f("pk_epochs")),
    )
    op.create_table(
        "reference_sets",
        sa.Column("id", BIG, nullable=False),
        sa.Column("job_id", BIG, nullable=False),
        sa.Column("members", sa.String(length=1400), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_reference_sets_job_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reference_sets")),
        sa.UniqueConstraint("job_id", "members", name=op.f("uq_reference_sets_job_id_members")),
    )
    op.create_table(
        "results",
        sa.Column("job_id", BIG, nullable=False),
        sa.Column("ordinal", BIG, nullable=False),
        sa.Column("verdict", sa.String(length=12), nullable=False),
        sa.Column("code", sa.String(length=40), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("distance", sa.Double(), nullable=True),
        sa.Column("distances", sa.JSON(), nullable=True),
        sa.Column("nearest", BIG, nullable=True),
        sa.Column("threshold", sa.Double(), nullable=True),
        sa.Column("model_id", BIG, nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_results_job_id")),
        sa.ForeignKeyConstraint(["model_id"], ["model_versions.id"], name=op.f("fk_results_model_id")),
        sa.PrimaryKeyConstraint("job_id", "ordinal", name=op.f("pk_results")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("results", schema=None) as batch_op:
        batch_op.create_index("ix_results_verdict", ["job_id", "verdict", "ordinal"], unique=False)
    op.create_table(
        "comparisons",
        sa.Column("job_id", BIG, nullable=False),
        sa.Column("ordinal", BIG, nullable=False),
        sa.Column("external_id", sa.String(length=255), nullable=False),
        sa.Column("line", BIG, nullable=True),
        sa.Column("questioned_id", BIG, nullable=True),
        sa.Column("reference_set_id", BIG, nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_comparisons_job_id")),
        sa.ForeignKeyConstraint(["questioned_id"], ["regions.id"], name=op.f("fk_comparisons_questioned_id")),
        sa.ForeignKeyConstraint(
            ["reference_set_id"], ["reference_sets.id"], name=op.f("fk_comparisons_reference_set_id")
        ),
        sa.PrimaryKeyConstraint("job_id", "ordinal", name=op.f("pk_comparisons")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("comparisons", schema=None) as batch_op:
        batch_op.create_index("ix_comparisons_external", ["job_id", "external_id"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("comparisons", schema=None) as batch_op:
        batch_op.drop_index("ix_comparisons_external")

    op.drop_table("comparisons")
    with op.batch_alter_table("results", schema=None) as batch_op:
        batch_op.drop_index("ix_results_verdict")

    op.drop_table("results")
    op.drop_table("reference_sets")
    op.drop_table("epochs")
    with op.batch_alter_table("chunks", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_chunks_open",
            sqlite_where=sa.text("state IN ('waiting', 'claimed')"),
            postgresql_where=sa.text("state IN ('waiting', 'claimed')"),
        )

    op.drop_table("chunks")
    with op.batch_alter_table("regions", schema=None) as batch_op:
        batch_op.drop_index("ix_regions_digest")

    op.drop_table("regions")
    op.drop_table("model_aliases")
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.drop_index("ix_jobs_state")

    op.drop_table("jobs")
    op.drop_table("embeddings")
    with op.batch_alter_table("audit_events", schema=None) as batch_op:
        batch_op.drop_index("ix_audit_events_subject")

    op.drop_table("audit_events")
    op.drop_table("api_keys")
    with op.batch_alter_table("uploads", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_uploads_digest"))

    op.drop_table("uploads")
    op.drop_table("people")
    with op.batch_alter_table("model_versions", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_model_versions_digest"))

    op.drop_table("model_versions")
