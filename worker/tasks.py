"""The tasks: each opens the process's context and calls one use case.

The use cases are imported when a task first runs, or before (:mod:`worker.beforehand`): the io worker serves intake and
views and must never load torch, and the workers' parents need none of them.
"""

from __future__ import annotations

from celery import Celery

from shared.queue import TaskNames
from shared.views import DRAWN
from worker.context import process_context

WAITED_FOR = (TaskNames.RENDER, TaskNames.PICTURE, TaskNames.LOOK)
VIEW_SECONDS = 30  # after which the process that draws a view, or looks at data, is ended


def intake(job: str) -> None:
    """Read a batch's manifest into rows and chunks."""
    from worker.intake import take_in

    take_in(process_context(), job)


def score(job: str) -> None:
    """Score all waiting chunks; the job named is only what woke the worker."""
    from worker.verification import score_waiting

    score_waiting(process_context())


def train(job: str) -> None:
    """Train one model version."""
    from worker.training import train_job

    train_job(process_context(), job)


def identify(job: str) -> None:
    """Identify the test images of one archive."""
    from worker.identification import identify_job

    identify_job(process_context(), job)


def evaluate(job: str) -> None:
    """Measure one model version."""
    from worker.evaluation import evaluate_job

    evaluate_job(process_context(), job)


def tune(job: str) -> None:
    """Search for good settings of a training."""
    from worker.tuning import tune_job

    tune_job(process_context(), job)


def render(region: str, view: str) -> None:
    """Make the PNG of a region that a page waits for."""
    from worker.rendering import render_view

    render_view(process_context(), int(region), view)


def picture(job: str, ordinal: str, which: str) -> None:
    """Make the PNG beside an answer of an identification."""
    from worker.rendering import render_answer

    render_answer(process_context(), job, int(ordinal), which)


def look(digest: str) -> None:
    """Look at labelled data that a page asks about."""
    from worker.looking import look_at

    look_at(process_context(), digest)


def sweep() -> None:
    """Ring again for what nobody works on, and remove files that nobody uses."""
    from shared.jobs.partial import remove_expired
    from shared.jobs.sweep import requeue_stalled

    context = process_context()
    requeue_stalled(context.settings, context.database, context.doorbell)
    remove_expired(context.database, context.store)


def deliver() -> None:
    """Send the webhooks that are due."""
    from worker.webhooks import deliver_due

    deliver_due(process_context())


def tidy() -> None:
    """Remove pictures that were drawn long ago, to be drawn again for whoever looks, and what deleted models left."""
    from shared.registry import forget_embeddings

    context = process_context()
    forget_embeddings(context.database)
    for folder in DRAWN:
        context.store.expire(folder, context.settings.file_hours * 3600)


def register(app: Celery) -> None:
    """Give the tasks their names in ``app``."""
    tasks = {
        TaskNames.INTAKE: intake,
        TaskNames.SCORE: score,
        TaskNames.TRAIN: train,
        TaskNames.EVALUATE: evaluate,
        TaskNames.TUNE: tune,
        TaskNames.IDENTIFY: identify,
        TaskNames.RENDER: render,
        TaskNames.PICTURE: picture,
        TaskNames.LOOK: look,
        TaskNames.SWEEP: sweep,
        TaskNames.DELIVER: deliver,
        TaskNames.TIDY: tidy,
    }
    for name, task in tasks.items():
        # What a page waits for has its limit here; longer work is watched by its heartbeat.
        app.task(name=name, time_limit=VIEW_SECONDS if name in WAITED_FOR else None)(task)
