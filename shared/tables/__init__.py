"""The tables, as SQLAlchemy typed classes. Called tables because here a model is a network."""

from shared.tables.base import Base
from shared.tables.images import Embedding, PartialUpload, Region, Upload
from shared.tables.jobs import (
    Chunk,
    Comparison,
    Epoch,
    Identification,
    Job,
    JobState,
    ReferenceSet,
    Result,
    StudyEvent,
    Trial,
    TrialState,
    Verdict,
)
from shared.tables.people import ApiKey, AuditEvent, Person
from shared.tables.registry import ModelAlias, ModelVersion
from shared.tables.requests import IdempotencyKey
from shared.tables.reviews import Decision, Review
from shared.tables.webhooks import Delivery, DeliveryState, Webhook

__all__ = [
    "ApiKey",
    "AuditEvent",
    "Base",
    "Chunk",
    "Comparison",
    "Decision",
    "Delivery",
    "DeliveryState",
    "Embedding",
    "Epoch",
    "IdempotencyKey",
    "Identification",
    "Job",
    "JobState",
    "ModelAlias",
    "ModelVersion",
    "PartialUpload",
    "Person",
    "ReferenceSet",
    "Region",
    "Result",
    "Review",
    "StudyEvent",
    "Trial",
    "TrialState",
    "Upload",
    "Verdict",
    "Webhook",
]
