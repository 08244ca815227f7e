from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from shared.config import BadSettings, ClientSettings, load_settings


def test_defaults_lie_below_home(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path)
    assert settings.database_url == f"sqlite:///{tmp_path}/countersign.db"
    assert settings.storage_url == str(tmp_path / "blobs")


def test_urls_are_read_with_and_without_the_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://a/b")
    monkeypatch.setenv("COUNTERSIGN_REDIS_URL", "redis://here:1/0")
    monkeypatch.setenv("STORAGE_URL", "/somewhere")
    settings = load_settings()
    assert settings.database_url == "postgresql://a/b"
    assert settings.redis_url == "redis://here:1/0"
    assert settings.storage_url == "/somewhere"


def test_the_prefixed_name_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://plain/b")
    monkeypatch.setenv("COUNTERSIGN_DATABASE_URL", "postgresql://prefixed/b")
    assert load_settings().database_url == "postgresql://prefixed/b"


def test_every_bad_value_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = {
        "LOG_LEVEL": "LOUD",
        "MAX_UPLOAD": "many",
        "MAX_ENTRIES": "0",
        "MAX_RATIO": "1",
        "CHUNK_ROWS": "0",
        "LEASE_SECONDS": "0.5",
        "SWEEP_SECONDS": "0",
        "CHUNK_TRIES": "-1",
        "TORCH_THREADS": "0",
    }
    for name, value in bad.items():
        monkeypatch.setenv(f"COUNTERSIGN_{name}", value)
    with pytest.raises(BadSettings) as caught:
        load_settings()
    said = str(caught.value)
    for name, value in bad.items():
        assert name.lower() in said
        assert repr(value) in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://host/db"),
        ("DATABASE_URL", "nonsense"),
        ("REDIS_URL", "amqp://host"),
        ("STORAGE_URL", "s3://bucket"),
    ],
)
def test_addresses_of_other_kinds_stop_the_start(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(BadSettings, match=name):
        load_settings()


def test_secrets_are_not_repeated_in_the_complaint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERSIGN_SECRET_KEY", "tooshort-hunter2")
    monkeypatch.setenv("DATABASE_URL", "mysql://me:hunter2@host/db")
    with pytest.raises(BadSettings) as caught:
        load_settings()
    assert "secret_key" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_more_references_than_a_reference_set_can_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERSIGN_MAX_REFERENCES", "65")
    with pytest.raises(BadSettings, match="max_references"):
        load_settings()


def test_settings_are_frozen(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path)
    with pytest.raises(ValidationError):
        settings.max_upload = 1  # type: ignore[misc]  # what is forbidden


def test_the_client_reads_its_own_three(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert ClientSettings().home == Path("var")
    monkeypatch.setenv("COUNTERSIGN_URL", "http://there")
    monkeypatch.setenv("COUNTERSIGN_API_KEY", "cs_k")
    monkeypatch.setenv("COUNTERSIGN_HOME", str(tmp_path))
    settings = ClientSettings()
    assert (settings.url, settings.api_key, settings.home) == ("http://there", "cs_k", tmp_path)


def test_weights_lie_below_home_or_where_the_operator_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings(home=tmp_path).weights_folder == tmp_path / "weights"
    monkeypatch.setenv("COUNTERSIGN_WEIGHTS", "/srv/weights")
    assert load_settings(home=tmp_path).weights_folder == Path("/srv/weights")
