"""Settings of inventory alone, beside those of the delivery layer."""

from functools import cache

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from delivery.settings import read_settings


class InventorySettings(BaseSettings):
    """Each field is the environment variable of the same name in capitals."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    expiry_watch_seconds: float = Field(
        default=5.0, gt=0, le=3600, description="Between two looks at what expired or soon will."
    )
    checker_seconds: float = Field(
        default=5.0, gt=0, le=3600, description="Between two slices of the comparison of ledger and balances."
    )


@cache
def inventory_settings() -> InventorySettings:
    """The settings in force, read once. Raises `SettingsRefused` naming each that is out of its limits."""
    return read_settings(InventorySettings)
