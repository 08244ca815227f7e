"""The table of speed: what counts as held, and that no image of a batch comes twice."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import replace
from threading import BoundedSemaphore
from xml.etree import ElementTree

import pytest
from flask import Flask
from werkzeug.serving import make_server

from benchmarks.speed import SUBJECTS
from benchmarks.speed.caller import Caller
from benchmarks.speed.chart import chart, margin_of
from benchmarks.speed.page import page
from benchmarks.speed.polling import poll
from benchmarks.speed.processes import largest_growth
from benchmarks.speed.referee import Referee
from benchmarks.speed.row import Outcome, Row, Sample
from benchmarks.speed.samples import Samples
from shared.db import Database
from shared.jobs.chunks import Scored, claim_chunks, record
from shared.jobs.work import load_work
from tests.factories import png, unbacked_model
from web.people import create_first_person
from web.services import EXTENSION
from worker.ml.images import decode, pixel_digest


def outcome(row: Row, *turns: tuple[float, float]) -> Outcome:
    return Outcome(row, tuple(Sample(row.name, *turn) for turn in turns))


def test_a_row_is_held_by_the_median_of_its_ratios() -> None:
    seen = outcome(Row("a", "", "", "", 2.0), (10, 10), (30, 10), (90, 30))
    assert (seen.ratios, seen.held) == ((3.0, 1.0, 3.0), True)
    assert not outcome(Row("a", "", "", "", 3.5), (10, 10), (30, 10), (90, 30)).held


@pytest.mark.parametrize(("ours", "held", "margin"), [(20.0, True, 2.0), (80.0, False, 0.5)])
def test_a_row_with_a_most_is_held_below_it(ours: float, held: bool, margin: float) -> None:
    seen = outcome(Row("a", "", "ms", "", 40.0, "ours", lower=True), (ours, 1.0))
    assert (seen.held, margin_of(seen)) == (held, margin)


def test_the_chart_names_each_row() -> None:
    seen = [outcome(row, (1.0, 1.0)) for subject in SUBJECTS for row in subject.rows]
    text = " ".join(ElementTree.fromstring(chart(seen)).itertext())  # noqa: S314 (our own)
    assert all(row.name in text for subject in SUBJECTS for row in subject.rows)


def test_a_row_comes_back_from_its_file_as_it_was() -> None:
    seen = outcome(Row("a", "b", "ms", "c", 40.0, "ours", lower=True), (30.0, 2.0), (20.0, 1.0))
    assert Outcome.of(json.loads(json.dumps(seen.document()))) == seen


def test_the_page_says_which_rows_are_not_held() -> None:
    machine = {"cores": 2, "processor": "some", "gpu": None, "torch": "2"}
    seen = [outcome(Row("kept", "", "", "", 2.0), (3, 1)), outcome(Row("missed", "", "", "", 2.0), (1, 1))]
    lines = page({"machine": machine, "quick": False}, seen).splitlines()
    held = {line.split("|")[1].strip(): line.split("|")[7].strip() for line in lines if line.startswith("| ")}
    assert (held["kept"], held["missed"]) == ("yes", "**no**")


def test_names_of_rows_are_told_apart() -> None:
    names = [row.name for subject in SUBJECTS for row in subject.rows]
    assert len(set(names)) == len(names)


def test_no_image_comes_twice_nor_in_a_later_batch() -> None:
    samples = Samples(writers=1)
    images, pairs = samples.no_reuse(3)
    again, _ = samples.no_reuse(30)  # more than the writer has
    digests = [pixel_digest(decode(data)) for batch in (images, again) for data in batch.values()]
    assert len(set(digests)) == len(digests) == 66
    assert len({name for pair in pairs for name in pair}) == 6


def test_the_light_caller_submits_waits_and_reads(sqlite_app: Flask, sqlite_database: Database) -> None:
    """The stand-in of a worker answers while it waits; a server that has no place for it is asked again later."""
    unbacked_model(sqlite_database)
    first = create_first_person(sqlite_database)
    assert first is not None
    sqlite_app.extensions[EXTENSION] = replace(sqlite_app.extensions[EXTENSION], places_to_wait=BoundedSemaphore(1))
    sqlite_app.extensions[EXTENSION].places_to_wait.acquire()
    server = make_server("127.0.0.1", 0, sqlite_app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with Caller(f"http://127.0.0.1:{server.server_port}", first.api_key) as caller:
        job = caller.submit_pair("paper", {"a.png": png(1), "b.png": png(2)})
        assert job["label"] == "a.png against b.png"
        timer = threading.Timer(0.2, answer_all, [sqlite_database])
        timer.start()
        result = caller.result(job)
        assert (result["distance"], result["questioned"]["image"]) == (0.5, "a.png")
        with pytest.raises(RuntimeError, match="model_unknown"):
            caller.submit_pair("another", {"a.png": png(1), "b.png": png(2)})
    server.shutdown()


def answer_all(database: Database) -> None:
    while claim := claim_chunks(database, "a worker", 30, 8):
        with database.read() as session:
            pending = load_work(session, claim).pending
        row = {"verdict": "accept", "distance": 0.5, "threshold": 1.0, "scale": "distance", "model_id": claim.model.id}
        results = [{"job_id": each.job_id, "ordinal": each.ordinal} | row for each in pending]
        record(database, claim, Scored(results=results))


def test_a_real_batch_has_every_pair_of_its_writers_once() -> None:
    images, pairs = Samples(writers=1).real_batch(10_000)
    assert (len(images), len(pairs), len(set(pairs))) == (48, 852, 852)


def test_the_process_that_grew_most_is_told_and_a_new_one_is_refused() -> None:
    assert largest_growth({1: 10.0, 2: 50.0}, {1: 40.0, 2: 55.0}) == (30.0, 10.0)
    with pytest.raises(RuntimeError, match="changed"):
        largest_growth({1: 10.0}, {1: 10.0, 2: 5.0})


def test_a_wrong_distance_is_noticed() -> None:
    images, pairs = Samples(writers=1).no_reuse(1)
    referee = Referee("compact")
    right = float(referee.distances(images, pairs)[0])
    referee.check(images, pairs, {0: right})
    with pytest.raises(RuntimeError, match="are right"):
        referee.check(images, pairs, {0: 1.05 * right})


def test_polling_clients_refuse_an_answer_that_changes() -> None:
    async def changing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number in range(2):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(f"HTTP/1.1 304 NOT MODIFIED\r\nETag: {number}\r\nContent-Length: 0\r\n\r\n".encode())
        writer.close()

    async def asked() -> None:
        async with await asyncio.start_server(changing, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            await poll(f"http://127.0.0.1:{port}", "key", ["/"], 60.0)

    with pytest.raises(RuntimeError, match="ETag 1, not 304 with 0"):
        asyncio.run(asked())
