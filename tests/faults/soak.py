"""The soak: mixed jobs for as long as is wished, and a random kill every so often.

``python -m tests.faults.soak --minutes 30 --every 20`` starts a stack of its own, and ends with status 1 when a row was
lost or written twice, when a job is there that nobody knows of, when an answer differs from an undisturbed run's, or
when memory or files of a program grew with its jobs, or Redis' connections did. With ``--postgresql`` it starts a
PostgreSQL for the stack, too.
"""

from __future__ import annotations

import argparse
import json
import random
import secrets
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import sqlalchemy as sa

from shared.errors import CountersignError
from shared.tables import Epoch, Identification, Job, ModelVersion
from tests.factories import ModelFile, make_model_file, png, training_files, zip_of
from tests.faults.growth import ALL_KINDS, Lives
from tests.faults.night import Night, a_night
from tests.faults.processes import MARKS, children, kill, kill_program, program, tree
from tests.servers import Stack, start_postgresql
from web.client import Document

AT_ONCE = 4  # jobs under way
CANCELLED = 0.15  # of the jobs; each is tried again
EPOCHS = 3
TESTS = 12  # images of an identification
SAMPLE_SECONDS = 10.0
END_SECONDS = 300.0  # for the last jobs to end in, undisturbed
MOST_CONNECTIONS = 1.25  # of Redis, in the last third against the first: programs come and go


@dataclass
class Tally:
    """What happened, and what went wrong."""

    kills: Counter[str] = field(default_factory=Counter)
    jobs: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    retries: int = 0
    faults: list[str] = field(default_factory=list)
    connections: list[int] = field(default_factory=list)  # of Redis, sample by sample
    lives: Lives = field(default_factory=Lives)

    def ended(self) -> dict[str, int]:
        """Jobs that have ended, by kind."""
        return {kind: sum(n for told, n in self.jobs.items() if told.startswith(f"{kind} ")) for kind in ALL_KINDS}


class Soak:
    """Jobs, kills and checks on one stack."""

    def __init__(self, night: Night, seed: int) -> None:
        self._night = night
        self._random = random.Random(seed)  # noqa: S311 (what is killed is no secret)
        self._under_way: list[tuple[str, Document]] = []
        self._unanswered: tuple[str, str] | None = None  # the kind and the key of what was sent in vain
        self._to_cancel: set[str] = set()  # ids
        self._training = zip_of(training_files(writers=3, genuine=3, forged=1))
        self._gallery = zip_of(
            {f"categories/{name}/{n}.png": png(10 * name + n) for name in range(3) for n in range(2)}
            | {f"test/{n}.png": png(n) for n in range(TESTS)}
        )
        self.tally = Tally()

    def run(self, seconds: float, every: float, calm: float) -> Tally:
        """Keep jobs coming and kill something each ``every`` seconds; then let all that is under way end.

        Jobs go on for ``calm`` seconds after the last kill: what leaks must live for a while to show it.
        """
        begun = time.monotonic()
        next_kill, next_sample = begun + every, begun
        while (now := time.monotonic()) < begun + seconds + calm:
            if now >= next_kill and now < begun + seconds:
                self._kill()
                next_kill += every
            if now >= next_sample:
                self._sample()
                next_sample += SAMPLE_SECONDS
            self._settle()
            self._top_up()
            self._cancel()
            time.sleep(0.5)
        end = time.monotonic() + END_SECONDS
        while self._under_way and time.monotonic() < end:
            self._settle()
            time.sleep(0.5)
        self.tally.faults += [f"{kind} {job['id']} did not end" for kind, job in self._under_way]
        self._growth()
        self._leftovers()
        self._unknown()
        return self.tally

    def _kill(self) -> None:
        """Kill a program with its children, or one child of a worker."""
        name = self._random.choice(sorted(MARKS))
        stack = self._night.stack
        inside = children(program(stack, name))
        if inside and self._random.random() < 0.5:
            kill(self._random.choice(inside))
            name += "'s child"
        else:
            kill_program(stack, name)
        self.tally.kills[name] += 1

    def _top_up(self) -> None:
        while len(self._under_way) < AT_ONCE:
            kind = self._random.choices(("verify", "identify", "train"), (6, 2, 1))[0]
            kind, key = self._unanswered or (kind, secrets.token_hex(8))
            self._unanswered = kind, key
            try:
                job = self._submit(kind, key)
            except Exception as error:  # noqa: BLE001 (whatever broke off: the sender was told, and sends it again)
                code = error.code if isinstance(error, CountersignError) else type(error).__name__
                self.tally.jobs[f"sent again: {code}"] += 1
                if code == "idempotency_in_flight":  # its server died; the key is free when its lease is over
                    self._unanswered = None
                return
            self._unanswered = None
            self._under_way.append((kind, job))
            if self._random.random() < CANCELLED:
                self._to_cancel.add(job["id"])

    def _submit(self, kind: str, key: str) -> Document:
        """Send a job; sent again under its key it is the same, so a verification names its model by the key."""
        if kind == "train":
            fields = {"network": "compact", "epochs": str(EPOCHS), "name": "soaked"}
            return self._night.submit(self._training, kind, key, **fields)
        if kind == "identify":
            return self._night.submit(self._gallery, kind, key)
        model = f"m-{key}"
        with self._night.database.read() as session:
            known = session.scalar(sa.select(ModelVersion.id).where(ModelVersion.name == model))
        if not known:
            self._night.stack.add_model(replace(self._night.model, name=model))
        return self._night.submit(kind=kind, key=key, model=model)

    def _cancel(self) -> None:
        """Cancel what is to be cancelled once some of it is done, or it is too late; what broke off is done again."""
        for _, job in self._under_way:
            if job["id"] in self._to_cancel and self._night.job(job).done:
                with suppress(CountersignError), self._night.stack.client() as client:
                    client.cancel(job["id"])
                    self._to_cancel.discard(job["id"])

    def _retry(self, job: Document) -> None:
        with suppress(CountersignError), self._night.stack.client() as client:
            client.retry(job["id"])
            self.tally.retries += 1

    def _settle(self) -> None:
        """Check the jobs that have ended."""
        for kind, job in list(self._under_way):
            state = self._night.job(job).state
            if state == "cancelled":
                self._retry(job)
            elif state in ("succeeded", "failed"):
                self._under_way.remove((kind, job))
                self.tally.jobs[f"{kind} {state}"] += 1
                try:
                    self._check(kind, job, state)
                except AssertionError as error:
                    self.tally.faults.append(f"{kind} {job['id']}: {str(error)[:500]}")

    def _check(self, kind: str, job: Document, state: str) -> None:
        row = self._night.job(job)
        assert state == "succeeded", f"{state}: {row.error_code} {row.error_message}"
        if kind == "verify":
            self._night.nothing_lost_or_twice(job, len(self._night.expected))
            self._night.same(self._night.answers_from_database(job))
            self.tally.rows += len(self._night.expected)
        else:
            table = Epoch.epoch if kind == "train" else Identification.ordinal
            query = sa.select(table).where(table.class_.job_id == row.id).order_by(table)
            with self._night.database.read() as session:
                found = list(session.scalars(query))
            assert found == list(range(1, (EPOCHS if kind == "train" else TESTS) + 1)), f"rows {found}"
            self.tally.rows += len(found)

    def _sample(self) -> None:
        self.tally.lives.look(self._night.stack, self.tally.ended())
        clients = self._night.stack.redis_client()
        try:
            self.tally.connections.append(int(clients.info("clients")["connected_clients"]))
        except Exception:  # noqa: BLE001 (Redis was just killed: the next sample counts)
            return
        finally:
            clients.close()

    def _growth(self) -> None:
        for name, growth in self.tally.lives.growth().items():
            if growth.excess > 1:
                self.tally.faults.append(f"{name} grew by {growth.told()}")
        found = self.tally.connections
        third = len(found) // 3
        if third < 3:
            return
        first, last = (sorted(part)[third // 2] for part in (found[:third], found[-third:]))
        if last > MOST_CONNECTIONS * first:
            self.tally.faults.append(f"connections grew from {first} to {last}")

    def _unknown(self) -> None:
        """No job may be there that no answer told of."""
        with self._night.database.read() as session:
            jobs = session.scalar(sa.select(sa.func.count()).select_from(Job)) or 0
        known = 1 + sum(self.tally.ended().values()) + len(self._under_way)  # the first is that of the undisturbed run
        if jobs != known:
            self.tally.faults.append(f"{jobs} jobs are there, {known} were answered for")

    def _leftovers(self) -> None:
        """No half-written file may be left, and no process outside the stack."""
        home = self._night.stack.home
        inside = set(tree(self._night.stack.pid))
        strays = [pid for pid in of_home(home) if pid not in inside]
        if strays:
            self.tally.faults.append(f"{len(strays)} processes are left outside the stack")


def of_home(home: Path) -> list[int]:
    """The processes, wherever they hang, that work for the stack of a home."""
    mark = f"COUNTERSIGN_HOME={home}\0".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in path.read_bytes() + b"\0":
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def main() -> int:
    """Soak as the command line says; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--every", type=float, default=20.0, help="seconds between two kills")
    parser.add_argument("--calm", type=float, default=5.0, help="minutes with jobs and without kills after that")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--postgresql", action="store_true", help="on a PostgreSQL of its own; SQLite without it")
    given = parser.parse_args()
    model: ModelFile = make_model_file("compact", threshold=1.0)
    with ExitStack() as parts:
        folder = Path(parts.enter_context(tempfile.TemporaryDirectory(prefix="cs-")))
        folder.chmod(0o755)  # PostgreSQL's own user must enter it, under root
        environment = {}
        if given.postgresql:
            environment["DATABASE_URL"] = parts.enter_context(start_postgresql(folder)).get_uri()
        stack = parts.enter_context(Stack(folder / "soak", environment))
        night = parts.enter_context(a_night(stack, model))
        tally = Soak(night, given.seed).run(60 * given.minutes, given.every, 60 * given.calm)
    told = {"kills": tally.kills, "jobs": tally.jobs, "rows": tally.rows, "retries": tally.retries}
    told |= {"faults": tally.faults, "connections": tally.connections}
    told |= {"growth": {name: asdict(growth) for name, growth in sorted(tally.lives.growth().items())}}
    json.dump(told, sys.stdout)
    return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
