"""Where the gateway listens, what it keeps where, and whom it tells; from the environment alone."""

from __future__ import annotations

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from adapters.loopback import require_loopback

PORT = 12111


class GatewaySettings(BaseSettings):
    """Keys and secret have the names under which Kontor itself reads them: both ends must have the same."""

    model_config = SettingsConfigDict(env_prefix="KONTOR_", frozen=True, extra="ignore", hide_input_in_errors=True)

    gateway_host: str = "127.0.0.1"
    gateway_port: int = Field(default=PORT, ge=1, le=65535)
    gateway_file: str = Field(description="SQLite file with everything it knows")
    gateway_webhook_url: str = Field(default="", description="where webhooks go; empty: none are sent")
    stripe_key: SecretStr = Field(min_length=8, description="the secret key a client must have")
    stripe_webhook_secret: SecretStr = Field(default=SecretStr(""), description="signs the webhooks")
    development_on_all_addresses: bool = False
    ready_file: str | None = None

    @model_validator(mode="after")
    def _stays_here(self) -> GatewaySettings:
        require_loopback("KONTOR_GATEWAY_HOST", self.gateway_host, allowed=self.development_on_all_addresses)
        return self
