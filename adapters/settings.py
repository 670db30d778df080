"""Everything that differs between two installations, read once from `KONTOR_*` environment variables.

Only `adapters.wiring`, `streams.app` and `cli` read this; every other module is handed plain values.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Values of one installation; `Settings()` reads the environment and names each missing variable."""

    model_config = SettingsConfigDict(env_prefix="KONTOR_", frozen=True, extra="ignore")

    postgres_url: str = Field(description="libpq URL of the one primary that holds log and views")
    kafka_url: str = Field(description="host:port[,host:port] of the brokers")
    redis_url: str = Field(description="redis:// URL; its content may vanish at any time")

    http_host: str = "127.0.0.1"
    http_port: int = Field(default=8000, ge=1, le=65535)
    environment: Literal["development", "production"] = "development"

    topic_prefix: str = Field(default="kontor.", pattern=r"^[a-z0-9._-]{1,40}$")
    topic_replication_factor: int = Field(default=1, ge=1, le=9)
    topic_min_insync_replicas: int = Field(default=1, ge=1, le=9)
    worker_group: str = Field(default="kontor-worker", pattern=r"^[a-z0-9._-]{1,60}$")

    master_key: SecretStr = Field(description="base64 of 32 bytes; wraps the keys that seal personal data")
    previous_master_keys: SecretStr = Field(
        default=SecretStr(""), description="earlier master keys, comma separated, until `kontor keys rotate` has run"
    )
    jwt_key: SecretStr = Field(description="base64 of a 32 byte Ed25519 seed; signs access tokens")
    ready_file: str | None = Field(default=None, description="a process writes its pid here once it serves")

    @classmethod
    def from_environment(cls) -> Settings:
        """Raises pydantic.ValidationError, naming each variable that is missing or malformed."""
        return cls()  # type: ignore[call-arg]  # the values come from the environment
