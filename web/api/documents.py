"""What the API answers, as pydantic models: the description is made of them, and tests hold every answer to them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.jobs.identified import AnswerKind
from shared.specs import JobSpec
from shared.tables import Decision, JobState, TrialState, Verdict

Links = dict[str, str | None]


class Document(BaseModel):
    """Base of all answers: nothing that is not described."""

    model_config = ConfigDict(extra="forbid")


class Fault(Document):
    """One single thing that is wrong."""

    code: str
    message: str
    where: str = Field(description="field, parameter, line of the manifest or entry of the archive")
    pointer: str | None = Field(description="JSON pointer to the field, where the body of the request is JSON")
    line: int | None = Field(description="line of the manifest")


class Problem(Document):
    """What went wrong with a request (RFC 9457)."""

    type: str = Field(description="address of the cause and the cure of this kind of problem")
    title: str
    status: int
    detail: str = Field(description="what is wrong and how to mend it, for people")
    code: str = Field(description="stable; what programs tell problems by")
    errors: list[Fault]


class JobError(Document):
    """Why a job failed."""

    code: str
    message: str
    errors: list[Fault]


class Counts(Document):
    """Results of a verification by verdict."""

    accept: int
    review: int
    reject: int
    unscorable: int


class Job(Document):
    """One piece of queued work."""

    id: str
    kind: Literal["verify", "identify", "train", "evaluate", "tune"]
    state: JobState = Field(description="ended are succeeded, failed and cancelled")
    done: int = Field(description="comparisons, test images, epochs or trials done, of `total`")
    total: int = Field(description="0 while it is not known")
    label: str
    tag: str | None = Field(description="the submitter's, to list jobs by")
    external_id: str | None = Field(description="the submitter's own name for the job")
    phase: str = Field(description="what is being done now, for people")
    attempt: int
    model: str | None = Field(description="name@version")
    calibrated_on: str | None = Field(description="what the model was calibrated on, where not people's signatures")
    counts: Counts
    error: JobError | None
    report: dict[str, Any] = Field(description="what was found and what came out; depends on the kind")
    spec: JobSpec
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    submitted_by: str | None
    links: Links


class JobList(Document):
    """A page of jobs, newest first."""

    jobs: list[Job]
    next: int | None = Field(description="cursor for `before`; null at the end")
    links: Links


class Region(Document):
    """The pixels that were compared."""

    image: str
    page: int
    box: str | None = Field(description="x y w h in pixels")
    digest: str | None = Field(description="of the decoded pixels")
    width: int | None
    height: int | None


class Review(Document):
    """What a person decided about an answer, beside the model's own."""

    decision: Decision
    verdict: Verdict = Field(description="what holds now")
    reason: str
    reviewer: str
    reviewed_at: datetime


class Comparison(Document):
    """One comparison with its answer."""

    id: str = Field(description="the sender's, of the manifest")
    tag: str | None = Field(description="the sender's, of the manifest")
    ordinal: int = Field(description="place in the batch, from 1; what cursors count")
    line: int | None = Field(description="line of manifest.csv")
    verdict: Verdict | None = Field(description="null while it is not scored")
    distance: float | None = Field(description="of the questioned image to the references; lower is more alike")
    threshold: float | None
    llr: float | None = Field(description="log10 likelihood ratio of one hand against a forger's")
    scale: Literal["llr", "distance"] | None = Field(description="what the verdict was judged on")
    accept_from: float | None
    reject_below: float | None
    forgeries: str | None = Field(description="the kind of forgery the ratio is against")
    calibrated_on: str | None
    code: str | None = Field(description="why it is unscorable or to be reviewed")
    message: str | None
    distances: list[float | None] | None = Field(description="to each reference")
    nearest: int | None = Field(description="which reference was nearest, from 1")
    model: str | None
    model_digest: str | None
    questioned: Region | None
    references: list[Region]
    review: Review | None = Field(description="null while nobody has decided")


class FoundComparison(Comparison):
    """A comparison that was looked for in all jobs, and where it is."""

    job: str
    links: Links


class ComparisonList(Document):
    """A page of comparisons of different jobs, the newest job first."""

    comparisons: list[FoundComparison]
    next: int | None = Field(description="cursor for `before`; null at the end")
    links: Links


class ResultList(Document):
    """A page of results, in the order of the batch."""

    results: list[Comparison]
    next: int | None = Field(description="cursor for `after`; null when nothing more will come")
    links: Links


class Identification(Document):
    """One test image with its answer."""

    ordinal: int
    image: str
    answer: AnswerKind
    category: str | None
    distance: float | None
    nearest: str | None
    runner_up: str | None
    runner_up_distance: float | None
    truth: str | None
    correct: bool | None
    code: str | None
    message: str | None


class IdentificationList(Document):
    """A page of answers."""

    identifications: list[Identification]
    next: int | None
    links: Links


class Epoch(Document):
    """One epoch of a training."""

    epoch: int
    loss: float
    validation_loss: float | None
    validation_eer: float = Field(description="0..1")
    learning_rate: float
    images: int
    seconds: float


class EpochList(Document):
    """The epochs of a training so far."""

    epochs: list[Epoch]


class Trial(Document):
    """One training of a search for settings."""

    number: int
    state: TrialState
    value: float | None = Field(description="mean validation EER, 0..1")
    folds: int
    seconds: float
    code: str | None
    params: dict[str, Any] = Field(description="settings of the training")


class TrialList(Document):
    """The trials of a search so far."""

    trials: list[Trial]


class StoredFile(Document):
    """A file that was sent; jobs may name it by its digest."""

    digest: str = Field(description="sha256: and 64 hexadecimal digits")
    size: int
    filename: str
    expires_at: datetime | None = Field(description="when it is removed unless a job names it before; null: a job has")
    links: Links


class PartialUpload(Document):
    """A file that is being sent in parts."""

    id: str
    digest: str = Field(description="that the whole must have")
    size: int
    filename: str
    offset: int = Field(description="bytes that have arrived; the next part begins here")
    complete: bool
    expires_at: datetime | None = Field(description="when what has arrived is removed; each part puts it off")
    links: Links


class JobFile(Document):
    """One file that a job left behind."""

    name: str
    size: int
    digest: str
    media_type: str
    links: Links


class JobFileList(Document):
    """The files that a job left behind."""

    files: list[JobFile]


class Model(Document):
    """A model version."""

    name: str
    version: int
    label: str = Field(description="name@version")
    digest: str
    network: str
    threshold: float
    default: bool
    aliases: list[str] = Field(description="names of roles that mean it at present: default, candidate")
    archived_at: datetime | None = Field(description="since when no new job may use it")
    created_at: datetime
    summary: dict[str, Any] = Field(description="recipe, data and figures")
    links: Links


class ModelList(Document):
    """A page of model versions, newest first."""

    models: list[Model]
    next: int | None = Field(description="cursor for `before`; null at the end")
    links: Links


class DataSet(Document):
    """An archive of labelled signatures."""

    digest: str
    size: int
    filename: str
    created_at: datetime
    expires_at: datetime | None = Field(description="when it is removed unless a job names it before; null: a job has")
    links: Links


class DataSetList(Document):
    """A page of the data sets that jobs worked on, the one used last first."""

    datasets: list[DataSet]
    next: int | None = Field(description="cursor for `before`; null at the end")
    links: Links


class LookedAt(DataSet):
    """A data set, and what a worker found in it."""

    found: dict[str, Any] | None = Field(
        description="layout, writers, genuine, forged, what is skipped and why; `error` where it cannot be used; null "
        "while a worker looks"
    )
    samples: list[str] = Field(
        description="addresses of the pictures of a contact sheet, in the order of found.samples"
    )


class Evaluation(Document):
    """A model that was measured on writers it never saw."""

    id: str = Field(description="the job's")
    state: JobState
    label: str
    tag: str | None
    model: str | None = Field(description="name@version")
    model_digest: str | None
    dataset: str | None = Field(description="digest of the archive")
    protocol: str
    figures: dict[str, Any] | None = Field(description="error rates with intervals, by protocol and kind of forgery")
    created_at: datetime
    finished_at: datetime | None
    links: Links


class EvaluationList(Document):
    """A page of evaluations, newest first."""

    evaluations: list[Evaluation]
    next: int | None = Field(description="cursor for `before`; null at the end")
    links: Links


class OperatingPoint(Document):
    """What a threshold would do."""

    far: float = Field(description="share of the forgeries that would pass, 0..1")
    frr: float = Field(description="share of the genuine signatures that would be rejected, 0..1")


class DetCurve(Document):
    """The operating points against one kind of forgery."""

    protocol: str = Field(description="pair, or refsN for sets of N references")
    forgeries: Literal["skilled", "random"]
    points: list[OperatingPoint]


class Histogram(Document):
    """How the scores are spread."""

    protocol: str
    scale: Literal["llr", "distance"]
    bounds: list[float] = Field(description="between the verdicts")
    bins: list[dict[str, float]] = Field(description="low, high, and the counts of genuine, skilled and random")


class MeasuredEvaluation(Evaluation):
    """An evaluation with its curves; they are empty until it has succeeded."""

    curves: list[DetCurve]
    histograms: list[Histogram]
    floor: dict[str, Any] = Field(description="what statistics of paper and pen alone would reach")
