"""One request each: what :class:`web.client.Client` can ask of the server; ``async_calls`` is its twin."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import IO, Any

from web.client.common import PAGE, ROWS, Document, chosen, once, path_of, waiting


class JobCalls(ABC):
    """About jobs, their answers and the files that they leave behind."""

    @abstractmethod
    def _call(self, method: str, path: str, **options: Any) -> Document:
        """The answer to one request."""

    @abstractmethod
    def _pages(self, path: str, member: str, cursor: str, query: dict[str, Any]) -> Iterator[Document]:
        """The members of a list, fetched a page at a time."""

    @abstractmethod
    def _stream(self, path: str, query: dict[str, str], target: IO[bytes]) -> None:
        """Write the answer into ``target`` as it arrives."""

    @abstractmethod
    def _text(self, path: str) -> str:
        """The answer as text."""

    def job(self, job_id: str, wait: int = 0) -> Document:
        """The job; with ``wait``, once it has ended or after so many seconds (at most 60)."""
        return self._call("GET", path_of("jobs", job_id), headers=waiting(wait))

    def jobs(self, **filters: str) -> Iterator[Document]:
        """Jobs, newest first, fetched a page at a time; ``kind``, ``state``, ``tag``, ``external_id`` choose some."""
        return self._pages("/jobs", "jobs", "before", filters | {"limit": PAGE})

    def cancel(self, job_id: str) -> Document:
        """Ask it to stop; what is done is kept."""
        return self._call("POST", path_of("jobs", job_id, "cancel"), headers=once())

    def finish(self, job_id: str) -> Document:
        """End a training now, with the best weights so far."""
        return self._call("POST", path_of("jobs", job_id, "finish"), headers=once())

    def retry(self, job_id: str) -> Document:
        """Queue a failed or cancelled job again, with only what is missing."""
        return self._call("POST", path_of("jobs", job_id, "retry"), headers=once())

    def result(self, job_id: str, ordinal: int) -> Document:
        """One comparison with its answer; ``ordinal`` is its place in the batch, from 1."""
        return self._call("GET", path_of("jobs", job_id, "results", str(ordinal)))

    def results(
        self, job_id: str, verdict: str | None = None, scored: bool = False, after: int = 0
    ) -> Iterator[Document]:
        """All results of a verification behind the ordinal ``after``, or those of one verdict, a page at a time.

        The verdict ``unscorable`` are the errors. With ``scored`` only as far as everything is scored: go on after the
        ordinal of the last one, and nothing is missed while the job runs.
        """
        query = {"after": after, "limit": ROWS} | chosen(verdict=verdict, scored="true" if scored else None)
        return self._pages(path_of("jobs", job_id, "results"), "results", "after", query)

    def results_csv(self, job_id: str, target: IO[bytes], verdict: str | None = None) -> None:
        """Write all results of a verification, or those of one verdict, as CSV into ``target``, as they arrive."""
        self._stream(path_of("jobs", job_id, "results"), {"format": "csv"} | chosen(verdict=verdict), target)

    def identifications(self, job_id: str, answer: str | None = None) -> Iterator[Document]:
        """All answers of an identification, or those that are ``named``, ``none``, ``wrong`` or ``error``, by pages."""
        query = {"after": 0, "limit": ROWS} | chosen(answer=answer)
        return self._pages(path_of("jobs", job_id, "identifications"), "identifications", "after", query)

    def identifications_csv(self, job_id: str, target: IO[bytes], answer: str | None = None) -> None:
        """Write them as CSV into ``target``, as they arrive."""
        query = {"format": "csv"} | chosen(answer=answer)
        self._stream(path_of("jobs", job_id, "identifications"), query, target)

    def trials(self, job_id: str) -> list[Document]:
        """The trials of a search for settings, in the order they were begun."""
        found: list[Document] = self._call("GET", path_of("jobs", job_id, "trials"))["trials"]
        return found

    def trials_csv(self, job_id: str, target: IO[bytes]) -> None:
        """Write them as CSV into ``target``."""
        self._stream(path_of("jobs", job_id, "trials"), {"format": "csv"}, target)

    def epochs(self, job_id: str) -> list[Document]:
        """The epochs of a training so far."""
        found: list[Document] = self._call("GET", path_of("jobs", job_id, "epochs"))["epochs"]
        return found

    def files(self, job_id: str) -> list[Document]:
        """The files that a job left behind: name, size and digest of each."""
        found: list[Document] = self._call("GET", path_of("jobs", job_id, "files"))["files"]
        return found

    def download(self, job_id: str, name: str, target: IO[bytes]) -> None:
        """Write one of them into ``target``, as it arrives."""
        self._stream(path_of("jobs", job_id, "files", name), {}, target)

    def file(self, digest: str) -> Document:
        """A file that was sent, by its ``sha256:`` digest; an error with the code ``file_unknown`` where it was not."""
        return self._call("GET", path_of("files", digest))


class ModelCalls(JobCalls):
    """About model versions."""

    def models(self, archived: bool = False) -> list[Document]:
        """The models that jobs may use; with ``archived`` all of them."""
        query: dict[str, Any] = {"limit": PAGE} | ({"archived": "true"} if archived else {})
        return list(self._pages("/models", "models", "before", query))

    def model(self, name: str) -> Document:
        """One model version, by name, name@version, digest or alias."""
        return self._call("GET", path_of("models", name))

    def model_file(self, name: str, target: IO[bytes]) -> None:
        """Write the file of a model into ``target``, as it arrives."""
        self._stream(path_of("models", name, "file"), {}, target)

    def card(self, name: str) -> str:
        """The card of a model, in Markdown."""
        return self._text(path_of("models", name, "card"))

    def promote(self, name: str, note: str = "") -> Document:
        """Have verifications that name no model use this one, and keep why."""
        return self._call("POST", path_of("models", name, "default"), params={"note": note} if note else {})

    def make_candidate(self, name: str) -> Document:
        """Have jobs mean this one by ``candidate``."""
        return self._call("POST", path_of("models", name, "candidate"))

    def drop_candidate(self, name: str) -> Document:
        """Have ``candidate`` mean this one no longer."""
        return self._call("DELETE", path_of("models", name, "candidate"))

    def archive(self, name: str) -> Document:
        """Keep a model for reading: no new job may use it."""
        return self._call("POST", path_of("models", name, "archive"))

    def unarchive(self, name: str) -> Document:
        """Let new jobs use it again."""
        return self._call("POST", path_of("models", name, "unarchive"))

    def delete_model(self, name: str) -> None:
        """Delete a model; the results that it gave are kept."""
        self._call("DELETE", path_of("models", name))


class FindingCalls(ModelCalls):
    """About single comparisons, data sets and evaluations, whatever their job."""

    def comparisons(self, row_id: str) -> Iterator[Document]:
        """The comparisons that their sender named so, one of each job, the newest job first."""
        return self._pages("/comparisons", "comparisons", "before", {"id": row_id, "limit": PAGE})

    def review(self, job_id: str, ordinal: int, verdict: str, reason: str = "") -> Document:
        """Keep what a person decided about a comparison; to overrule the model needs a reason."""
        path = path_of("jobs", job_id, "results", str(ordinal), "review")
        return self._call("PUT", path, json={"verdict": verdict, "reason": reason})

    def undo_review(self, job_id: str, ordinal: int) -> None:
        """Leave it undecided again."""
        self._call("DELETE", path_of("jobs", job_id, "results", str(ordinal), "review"))

    def data_sets(self) -> Iterator[Document]:
        """The archives of labelled signatures that jobs worked on, the one used last first."""
        return self._pages("/datasets", "datasets", "before", {"limit": PAGE})

    def data_set(self, digest: str, wait: int = 0) -> Document:
        """An archive that was sent, and what is in it; ``found`` is null until a worker has looked."""
        return self._call("GET", path_of("datasets", digest), headers=waiting(wait))

    def data_set_sample(self, digest: str, number: int, target: IO[bytes]) -> None:
        """Write a picture of its contact sheet (PNG) into ``target``; they count from 0."""
        self._stream(path_of("datasets", digest, "samples", str(number)), {}, target)

    def evaluations(self, model: str | None = None) -> Iterator[Document]:
        """Evaluations, newest first; with ``model`` those of one model version."""
        return self._pages(
            "/evaluations", "evaluations", "before", {"limit": PAGE} | ({"model": model} if model else {})
        )

    def evaluation(self, job_id: str) -> Document:
        """One of them, with its curves and histograms."""
        return self._call("GET", path_of("evaluations", job_id))


class Calls(FindingCalls):
    """About webhooks, and all the above; :func:`web.client.verify_webhook` is for their receivers."""

    def webhooks(self) -> list[Document]:
        """The webhooks of the key's owner, newest first."""
        found: list[Document] = self._call("GET", "/webhooks")["webhooks"]
        return found

    def add_webhook(self, url: str, label: str = "", scope: str = "own") -> Document:
        """Have ``url`` told when jobs end; of ``scope`` "all", also other people's. The answer alone has ``secret``."""
        return self._call("POST", "/webhooks", json={"url": url, "label": label, "scope": scope}, headers=once())

    def webhook(self, webhook_id: str) -> Document:
        """One of them."""
        return self._call("GET", path_of("webhooks", webhook_id))

    def delete_webhook(self, webhook_id: str) -> None:
        """Tell it nothing more."""
        self._call("DELETE", path_of("webhooks", webhook_id))

    def test_webhook(self, webhook_id: str) -> Document:
        """Send it a test event; the answer is the delivery."""
        return self._call("POST", path_of("webhooks", webhook_id, "test"), headers=once())

    def deliveries(self, webhook_id: str, **filters: str) -> Iterator[Document]:
        """What it was sent, newest first, fetched a page at a time; ``state`` and ``job`` choose some."""
        return self._pages(
            path_of("webhooks", webhook_id, "deliveries"), "deliveries", "before", filters | {"limit": PAGE}
        )

    def delivery(self, webhook_id: str, event_id: str) -> Document:
        """One event of its log."""
        return self._call("GET", path_of("webhooks", webhook_id, "deliveries", event_id))

    def resend(self, webhook_id: str, event_id: str) -> Document:
        """Send an event again, under the id it has."""
        return self._call("POST", path_of("webhooks", webhook_id, "deliveries", event_id, "resend"), headers=once())
