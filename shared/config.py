"""The one reader of the environment. Everything else is handed a :class:`Settings`."""

from __future__ import annotations

import ipaddress
import logging
from functools import cached_property
from pathlib import Path

from pydantic import AliasChoices, Field, ValidationError, computed_field, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict


class BadSettings(SystemExit):
    """The environment holds values that cannot be used; says which, and stops the program at start."""


def _either(name: str) -> AliasChoices:
    """Read ``NAME`` or ``COUNTERSIGN_NAME``: the first is what hosting platforms set."""
    return AliasChoices(f"COUNTERSIGN_{name}", name)


class Settings(BaseSettings):
    """All settings, frozen. Sizes are in bytes, times in seconds."""

    model_config = SettingsConfigDict(env_prefix="COUNTERSIGN_", frozen=True, extra="ignore", populate_by_name=True)

    home: Path = Field(default=Path("var"), description="folder of the embedded stack: database, images, credentials")
    configured_database: str | None = Field(
        default=None, validation_alias=_either("DATABASE_URL"), pattern=r"^(sqlite:///|postgres(ql)?(\+psycopg)?://)"
    )
    configured_storage: str | None = Field(
        default=None, validation_alias=_either("STORAGE_URL"), pattern=r"^(file://|/|\.)"
    )
    redis_url: str = Field(
        default="redis://127.0.0.1:6379/0",
        validation_alias=_either("REDIS_URL"),
        pattern=r"^(rediss?|redis\+socket)://",
    )
    configured_weights: Path | None = Field(default=None, validation_alias="COUNTERSIGN_WEIGHTS")
    secret_key: str | None = Field(default=None, min_length=32, description="signs sessions; made in home when absent")
    secure_cookies: bool = Field(default=False, description="send the session cookie over HTTPS only")
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")

    max_upload: int = Field(default=20 * 2**30, ge=1024, description="largest request body")
    rate_limit: int = Field(default=3000, ge=0, description="API requests of one person in a minute; 0: any number")
    file_hours: float = Field(default=48.0, gt=0, description="how long a file is kept that no job names")
    max_entries: int = Field(default=300_000, ge=1, description="most entries in one archive")
    max_entry: int = Field(default=256 * 2**20, ge=1024, description="largest unpacked entry of an archive")
    max_ratio: float = Field(default=400.0, gt=1, description="most times an entry may grow when unpacked")
    max_pixels: int = Field(default=40_000_000, ge=1024, description="most pixels in one page")
    max_references: int = Field(default=64, ge=1, le=64, description="most references in one comparison")

    chunk_rows: int = Field(default=128, ge=1, le=100_000, description="comparisons in one chunk")
    claim_rows: int = Field(default=256, ge=1, le=1_000_000, description="most comparisons one claim takes")
    lease_seconds: float = Field(default=60.0, ge=1, le=600, description="how long a silent worker keeps its work")
    chunk_tries: int = Field(default=3, ge=1, description="claims after which a chunk is set aside")
    sweep_seconds: float = Field(default=10.0, gt=0, description="how often stalled work is rung for again")
    webhook_networks: str = Field(
        default="", description="networks that are not public and that webhooks may go to: 10.1.0.0/16, 10.2.0.7"
    )
    torch_threads: int | None = Field(default=None, ge=1, description="threads of one worker; empty: torch's choice")

    @field_validator("webhook_networks")
    @classmethod
    def _networks_can_be_read(cls, text: str) -> str:
        _networks(text)
        return text

    @property
    def webhook_networks_allowed(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        """``webhook_networks``, read."""
        return _networks(self.webhook_networks)

    @computed_field  # type: ignore[prop-decorator]  # mypy does not know pydantic's decorator stack
    @cached_property
    def database_url(self) -> str:
        """SQLAlchemy URL; SQLite in ``home`` by default."""
        return self.configured_database or f"sqlite:///{self.home.resolve() / 'countersign.db'}"

    @computed_field  # type: ignore[prop-decorator]  # as above
    @cached_property
    def storage_url(self) -> str:
        """Folder of the blobs; below ``home`` by default."""
        return self.configured_storage or str(self.home.resolve() / "blobs")

    @computed_field  # type: ignore[prop-decorator]  # as above
    @cached_property
    def weights_folder(self) -> Path:
        """Folder of the weights that trainings may start from; below ``home`` by default, need not exist."""
        return self.configured_weights or self.home / "weights"


def _networks(text: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(part) for part in text.replace(",", " ").split())


def load_settings(**overrides: object) -> Settings:
    """Read the environment, or stop the program naming every bad value.

    Raises:
        BadSettings: with one line for each value that cannot be used.
    """
    try:
        return Settings(**overrides)  # type: ignore[arg-type]  # pydantic validates them
    except ValidationError as error:
        lines = (f"  {'.'.join(map(str, e['loc']))}: {e['msg']}{_got(e)}" for e in error.errors())
        raise BadSettings("Countersign cannot start, these settings are wrong:\n" + "\n".join(lines)) from error


def _got(error: ErrorDetails) -> str:
    """The value that cannot be used, unless it is a secret or may hold one."""
    field = str(error["loc"][0]).lower()
    return "" if field.endswith(("_url", "_key")) else f" (got {error['input']!r})"


def configure_logging(settings: Settings) -> None:
    """One line per event, to standard error, for every program of the project."""
    logging.basicConfig(
        level=settings.log_level, format="%(asctime)s %(levelname).1s %(process)d %(name)s: %(message)s", force=True
    )
    for chatty in ("alembic", "httpx", "httpcore", "PIL"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


class ClientSettings(BaseSettings):
    """What the command line needs to find its server."""

    model_config = SettingsConfigDict(env_prefix="COUNTERSIGN_", frozen=True, extra="ignore")

    home: Path = Path("var")
    url: str | None = None
    api_key: str | None = None
