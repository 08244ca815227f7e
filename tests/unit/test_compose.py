"""docker-compose.yml is valid, and what it starts exists."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from shared.queue import QUEUE_OF, QueueNames

ROOT = Path(__file__).parents[2]
WORKERS = ("worker", "training-worker", "io-worker", "beat")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    program = shutil.which("docker-compose")
    if program is None:
        if os.environ.get("COUNTERSIGN_REQUIRE_COMPOSE"):
            pytest.fail("docker-compose is required here and is not installed")
        pytest.skip("docker-compose is not installed (Debian's package of that name)")
    environment = os.environ | {"POSTGRES_PASSWORD": "dummy", "COUNTERSIGN_SECRET_KEY": "0123456789abcdef" * 2}
    script = Path(program).read_bytes().startswith(b"#!")  # version 1, which knows YAML only
    done = subprocess.run(
        [program, "--file", str(ROOT / "docker-compose.yml"), "config", *([] if script else ["--format", "json"])],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = as_document(Path(program), done.stdout) if script else json.loads(done.stdout)
    return found


def as_document(program: Path, text: str) -> dict[str, Any]:
    """YAML read by the interpreter of docker-compose itself: it is Python, and brings the reader that we need not."""
    interpreter = program.read_text().splitlines()[0].removeprefix("#!")
    convert = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)"
    done = subprocess.run([interpreter, "-c", convert], input=text, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


def test_the_services(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == {"postgres", "redis", "migrate", "web", *WORKERS}
    for name, service in compose["services"].items():
        assert "healthcheck" in service or name == "migrate", f"{name} has no health check"


def test_every_queue_has_a_worker_and_every_worker_a_queue(compose: dict[str, Any]) -> None:
    known = {value for name, value in vars(QueueNames).items() if name.isupper()}
    served: list[str] = []
    for name in WORKERS:
        command = compose["services"][name]["command"]
        assert command[:3] == ["celery", "--app", "worker.app"]
        served += option(command, "--queues").split(",") if "--queues" in command else []
    assert sorted(served) == sorted(known)
    assert set(QUEUE_OF.values()) <= set(served)


def test_secrets_come_from_outside(compose: dict[str, Any]) -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    assert "dummy" not in text
    assert "dummy" in compose["services"]["web"]["environment"]["DATABASE_URL"]


def test_only_loopback_is_published(compose: dict[str, Any]) -> None:
    published = {name: s["ports"] for name, s in compose["services"].items() if s.get("ports")}
    assert list(published) == ["web"]
    (port,) = published["web"]
    assert port == "127.0.0.1:5000:5000/tcp" or port["host_ip"] == "127.0.0.1"  # as version 1 and as version 2 say it


def test_the_application_waits_for_the_migrations(compose: dict[str, Any]) -> None:
    for name in ("web", *WORKERS):
        waits = compose["services"][name]["depends_on"]
        assert waits["migrate"]["condition"] == "service_completed_successfully"
        assert waits["redis"]["condition"] == "service_healthy"


def test_the_images_programs_exist(compose: dict[str, Any]) -> None:
    from web.app import create_app
    from web.cli.main import main

    assert callable(create_app)
    assert compose["services"]["migrate"]["command"] == ["countersign", "migrate"]
    assert "migrate" in main.commands
    assert "web.app:create_app()" in (ROOT / "web" / "Dockerfile").read_text()


def test_only_workers_that_need_one_reserve_a_gpu(compose: dict[str, Any]) -> None:
    reserving = {
        name for name, service in compose["services"].items() if "nvidia" in json.dumps(service.get("deploy", {}))
    }
    assert reserving == {"worker", "training-worker"}
