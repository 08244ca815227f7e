"""The front end, beat and the io worker: killed, restarted, or without room."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import sqlalchemy as sa

from shared.errors import CountersignError
from shared.storage import STALE_SECONDS
from shared.tables import Delivery
from tests.factories import batch_of, png
from tests.faults.night import Night
from tests.faults.processes import (
    children,
    freeze,
    frozen,
    gone,
    kill,
    kill_program,
    no_room,
    program,
    thaw,
)
from tests.servers import Receiver, wait_for
from web.client import verify_webhook

pytestmark = pytest.mark.long


def test_no_room_while_an_upload_is_stored(night: Night) -> None:
    blobs = set((night.stack.home / "blobs").glob("*/*"))
    (web,) = children(program(night.stack, "web"))
    with no_room(web), pytest.raises(CountersignError) as refused:
        night.submit(model="default")
    assert refused.value.code == "storage_full"
    assert set((night.stack.home / "blobs").glob("*/*")) == blobs
    night.ends_undisturbed(night.submit())


def test_web_killed_during_an_upload(night: Night) -> None:
    """Nothing of the half upload is a job; the sender sees a broken connection, and sends it again."""
    before = [job["id"] for job in jobs(night)]
    address = urlsplit(night.stack.url)
    with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=60) as connection:
        head = f"POST /api/v1/jobs?kind=verify HTTP/1.1\r\nHost: {address.netloc}\r\n"
        head += f"Authorization: Bearer {night.stack.api_key}\r\nContent-Length: {10**8}\r\n"
        head += "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        head += '--b\r\nContent-Disposition: form-data; name="archive"; filename="b.zip"\r\n\r\n'
        connection.sendall(head.encode() + bytes(2**22))
        (web,) = children(program(night.stack, "web"))
        wait_for(lambda: spooling(web), "the upload to be under way")
        kill_program(night.stack, "web")
        assert broken(connection)
    wait_for(lambda: web_answers(night), "the web server")
    assert [job["id"] for job in jobs(night)] == before
    job = night.submit(key="night 7", model="default")
    assert night.submit(key="night 7", model="default")["id"] == job["id"]
    assert [each["id"] for each in jobs(night)] == [job["id"], *before]
    assert night.stack.ended(job["id"])["state"] == "succeeded"


def test_web_killed_between_storing_a_file_and_its_job(night: Night) -> None:
    """Nobody owns the file: it is there for a day, in case it is being taken in, and then removed."""
    blobs = night.stack.home / "blobs"
    before, known = set((blobs / "uploads").iterdir()), [job["id"] for job in jobs(night)]
    with ThreadPoolExecutor(1) as sender:
        with night.database.write() as session:
            # Held until the server is dead: it stores the file and waits to write the job.
            session.execute(sa.text("SELECT 1" if night.database.is_sqlite else "LOCK TABLE jobs IN SHARE MODE"))
            answer = sender.submit(send_batch, night)
            (stray,) = wait_for(lambda: set((blobs / "uploads").iterdir()) - before, "the file to be stored")
            kill_program(night.stack, "web")
        with pytest.raises(httpx.TransportError):
            answer.result()
    wait_for(lambda: web_answers(night), "the web server")
    assert [job["id"] for job in jobs(night)] == known
    time.sleep(2)  # in which the sweep looks several times
    marks = list((blobs / "loose").iterdir())
    assert [mark.name for mark in marks] == [f"uploads.{stray.name}"]
    assert stray.exists()
    for path in (stray, *marks):
        os.utime(path, (0, time.time() - STALE_SECONDS - 60))
    wait_for(lambda: not stray.exists() and not marks[0].exists(), "the file to be removed")
    assert set((blobs / "uploads").iterdir()) == before
    night.ends_undisturbed(night.submit())


def send_batch(night: Night) -> httpx.Response:
    """Submit a batch by a client that sends no ``Idempotency-Key``."""
    headers = {"Authorization": f"Bearer {night.stack.api_key}"}
    file = ("batch.zip", night.batch, "application/zip")
    url = f"{night.stack.url}/api/v1/jobs"
    return httpx.post(url, headers=headers, data={"kind": "verify"}, files={"archive": file}, timeout=60)


def spooling(web: int) -> bool:
    """Whether the web server holds a part of an upload in a file that has no name."""
    links = [str(path.readlink()) for path in Path(f"/proc/{web}/fd").iterdir()]
    return any("/uploading/" in link for link in links)


def broken(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def jobs(night: Night) -> list[dict[str, str]]:
    headers = {"Authorization": f"Bearer {night.stack.api_key}"}
    found: list[dict[str, str]] = httpx.get(f"{night.stack.url}/api/v1/jobs", headers=headers).json()["jobs"]
    return found


def web_answers(night: Night) -> bool:
    try:
        return httpx.get(f"{night.stack.url}/healthz", timeout=2).is_success
    except httpx.TransportError:
        return False


def test_beat_killed(night: Night) -> None:
    """It is started again: a job whose message is lost is rung for as before."""
    beat = program(night.stack, "beat")
    kill(beat)
    with frozen(*(io := [program(night.stack, "io")]), *children(io[0])):
        job = night.submit()
        night.stack.redis_client().flushall()
    assert program(night.stack, "beat") != beat
    night.ends_undisturbed(job)


def test_web_killed_during_a_part_of_a_large_file(night: Night) -> None:
    """What had arrived is kept over the restart; the sender asks how much that is, and goes on from there."""
    content = random.Random(night.stack.pid).randbytes(3 * 2**20)  # noqa: S311 (no secret)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    headers = {"Authorization": f"Bearer {night.stack.api_key}"}
    with httpx.Client(base_url=f"{night.stack.url}/api/v1", headers=headers, timeout=60) as client:
        upload = client.post("/uploads", json={"digest": digest, "size": len(content)}).json()
    blob = night.stack.home / "blobs" / "partial" / upload["id"]
    address = urlsplit(night.stack.url)
    with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=60) as connection:
        head = f"PATCH /api/v1/uploads/{upload['id']} HTTP/1.1\r\nHost: {address.netloc}\r\nUpload-Offset: 0\r\n"
        head += f"Authorization: Bearer {night.stack.api_key}\r\nContent-Length: {len(content)}\r\n\r\n"
        connection.sendall(head.encode() + content[: 2**21])
        wait_for(lambda: blob.exists() and blob.stat().st_size > 0, "some of it to be kept")
        kill_program(night.stack, "web")
        assert broken(connection)
    arrived = blob.stat().st_size
    assert 0 < arrived <= 2**21
    wait_for(lambda: web_answers(night), "the web server")
    with httpx.Client(base_url=f"{night.stack.url}/api/v1", headers=headers, timeout=60) as client:
        assert client.get(f"/uploads/{upload['id']}").json()["offset"] == arrived
        rest = {"Upload-Offset": str(arrived)}
        ended = client.patch(f"/uploads/{upload['id']}", content=content[arrived:], headers=rest)
        assert (ended.status_code, ended.json()["complete"]) == (200, True)
        assert client.get(f"/files/{digest}").json()["size"] == len(content)
    assert not blob.exists()


ROWS = 6000


def test_io_killed_while_a_manifest_is_read(night: Night) -> None:
    """Some groups of rows are in, others are not: another goes on after the last, and no row is there twice."""
    images = {f"{number}.png": png(number) for number in range(4)}
    batch = batch_of(*((n, f"{n % 4}.png", f"{(n + 1) % 4}.png") for n in range(ROWS)), images=images)
    job = night.submit(batch, model="default")

    def half_read() -> bool:
        now = night.job(job)
        return 0 < now.total < ROWS and not now.intake_done

    workers = children(program(night.stack, "io"))
    wait_for(half_read, "some rows", pause=0.005)
    freeze(*workers)
    assert half_read(), "the manifest was read already"
    holder = str(night.job(job).owner).rpartition(":")[2]
    assert holder in map(str, workers)
    kill(*workers)
    assert night.stack.ended(job["id"])["state"] == "succeeded"
    assert night.job(job).claims == 2
    night.nothing_lost_or_twice(job, ROWS)
    assert [answer[0] for answer in night.answers(job)] == [str(n) for n in range(ROWS)]


def test_a_deploy_while_a_manifest_is_read(night: Night) -> None:
    """SIGTERM: the io worker hands the manifest back within 30 s, and another goes on without waiting for its lease."""
    images = {f"{number}.png": png(number) for number in range(4)}
    batch = batch_of(*((n, f"{n % 4}.png", f"{(n + 1) % 4}.png") for n in range(ROWS)), images=images)
    parent = program(night.stack, "io")
    workers = children(parent)
    job = night.submit(batch, model="default")

    def half_read() -> bool:
        now = night.job(job)
        return 0 < now.total < ROWS and not now.intake_done

    wait_for(half_read, "some rows", pause=0.005)
    freeze(*workers)
    assert half_read(), "the manifest was read already"
    holder = str(night.job(job).owner)
    begun = time.monotonic()
    os.kill(parent, signal.SIGTERM)
    time.sleep(0.5)  # the parent tells its children by a flag
    thaw(*workers)
    wait_for(lambda: gone(parent), "the worker to end", 30)
    assert time.monotonic() - begun < 30
    assert night.job(job).owner != holder
    assert night.stack.ended(job["id"])["state"] == "succeeded"
    assert night.job(job).claims == 1, "it was not handed back"
    night.nothing_lost_or_twice(job, ROWS)
    assert [answer[0] for answer in night.answers(job)] == [str(n) for n in range(ROWS)]


def test_io_killed_while_a_webhook_is_sent(night: Night) -> None:
    """The receiver got it and its answer was not heard: it is sent again, as the same event, and once more only."""
    with night.stack.client() as client, Receiver().running() as receiver:
        webhook = client.add_webhook(receiver.url)
        receiver.pause = 5.0
        job = night.submit(model="default")

        def deliveries() -> list[Delivery]:
            query = sa.select(Delivery).where(Delivery.job_id == night.job(job).id)
            with night.database.read() as session:
                return list(session.scalars(query))

        wait_for(lambda: receiver.got, "the event")
        assert [(each.state, each.tries) for each in deliveries()] == [("sending", 1)]
        kill(*children(program(night.stack, "io")))
        receiver.pause = 0.0
        wait_for(lambda: deliveries()[0].state == "delivered", "it to be told", 150)
        events = [verify_webhook(webhook["secret"], headers, body)["id"] for _, headers, body in receiver.got]
        assert (len(events), len(set(events))) == (2, 1)
        client.delete_webhook(webhook["id"])
    night.stack.ended(job["id"])
