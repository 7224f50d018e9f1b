"""Settings come from the environment, are documented here and nowhere else, and are refused with the reason."""

from typing import Annotated, Literal, TypeVar

from pydantic import Field, StringConstraints, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class SettingsRefused(Exception):
    """A setting is missing or out of its limits; the text names each, what was given and what is allowed."""


class Settings(BaseSettings):
    """What a service needs to know to run. Each field is the environment variable of the same name in capitals."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    database_dsn: str = Field(description="This service's own PostgreSQL database: postgresql://user:pass@host:port/db")
    database_role: str = Field(
        default="",
        pattern=r"^[a-z_][a-z0-9_]{0,62}$|^$",
        description="The least-privileged role that serving runs as; made by `migrate`. Default: batchwise_<service>.",
    )
    database_pool: int = Field(default=10, ge=2, le=100, description="Connections at most (the relay has one more).")
    kafka_bootstrap_servers: str = Field(description="host:port[,host:port]")
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="How to reach the brokers."
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="SCRAM-SHA-512", description="How to log in to the brokers, where the protocol says SASL."
    )
    kafka_sasl_username: str = Field(default="", description="Who logs in to the brokers.")
    kafka_sasl_password: str = Field(default="", repr=False, description="Never logged.")
    kafka_ca_file: str = Field(default="", description="The brokers' certificate authority, PEM.")
    topic_prefix: Annotated[str, StringConstraints(pattern=r"^[a-z0-9._-]{0,60}$")] = Field(
        default="", description="Put before every topic and group name, so that several systems can share a cluster."
    )
    topic_partitions: int = Field(default=6, ge=1, le=1000, description="Partitions of a topic when it is created.")
    topic_replicas: int = Field(default=1, ge=1, le=7, description="Copies of a topic when it is created.")
    http_host: str = Field(default="127.0.0.1", description="Where to listen.")
    http_port: int = Field(default=8000, ge=0, le=65_535, description="0: any free port.")
    answer_seconds: int = Field(
        default=30, ge=1, le=600, description="A call over HTTP that lasts longer is answered with 504."
    )
    token_issuer: str = Field(description="Who signs tokens: an OIDC issuer URL, or `batchwise-local`.")
    token_audience: str = Field(default="batchwise", description="Whom a token must be for.")
    token_jwks: str = Field(default="", description="A JWKS file or URL; empty: found by OIDC discovery at the issuer.")
    environment: Literal["local", "production"] = Field(
        default="production", description="`production` refuses the local issuer and its demo users."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="The least that is logged."
    )
    log_format: Literal["json", "text"] = Field(
        default="json", description="One JSON object a line, or text for people."
    )
    chunk_records: int = Field(default=250, ge=1, le=10_000, description="Messages in one transaction, at most.")
    chunk_attempts: int = Field(default=3, ge=1, le=20, description="Tries of one message before a bug is parked.")
    parked_in_a_row: int = Field(default=50, ge=1, le=100_000, description="Then the consumer stops.")
    session_timeout_ms: int = Field(default=10_000, ge=6_000, le=300_000, description="A silent consumer is dead then.")
    transaction_idle_ms: int = Field(
        default=8_000, ge=100, le=300_000, description="PostgreSQL ends a transaction that is silent for so long."
    )

    @field_validator("token_issuer")
    @classmethod
    def _issuer_is_a_url_or_local(cls, issuer: str) -> str:
        if issuer != "batchwise-local" and not issuer.startswith("https://") and "://localhost" not in issuer:
            raise ValueError("must be an https:// URL, or batchwise-local")
        return issuer

    @model_validator(mode="after")
    def _local_is_not_production(self) -> "Settings":
        if self.environment == "production" and self.token_issuer == "batchwise-local":  # noqa: S105
            raise ValueError(
                "TOKEN_ISSUER is 'batchwise-local' while ENVIRONMENT is 'production': the local issuer's demo users "
                "must not reach production; set ENVIRONMENT=local or an OIDC issuer"
            )
        if self.token_issuer == "batchwise-local" and not self.token_jwks:  # noqa: S105
            raise ValueError("TOKEN_JWKS is missing: the local issuer has no discovery, name its JWKS file")
        return self


Read = TypeVar("Read", bound=BaseSettings)


def read_settings(kind: type[Read]) -> Read:
    """Settings of a kind from the environment. Raises `SettingsRefused`."""
    try:
        return kind()
    except ValidationError as refused:
        lines = []
        for error in refused.errors():
            name = "_".join(str(part) for part in error["loc"]).upper()
            if error["type"] == "missing":
                about = kind.model_fields[str(error["loc"][0])].description or ""
                lines.append(f"{name} is missing: {about}")
            else:
                given = "" if not name or "PASSWORD" in name else f" is {error['input']!r}"
                lines.append(f"{name}{given}: {error['msg'].removeprefix('Value error, ')}".removeprefix(": "))
        raise SettingsRefused("\n".join(lines)) from None
