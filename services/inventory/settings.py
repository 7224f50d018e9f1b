"""Settings of inventory alone, beside those of the delivery layer."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class InventorySettings(BaseSettings):
    """Each field is the environment variable of the same name in capitals, after `INVENTORY_`."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True, env_prefix="INVENTORY_")

    expiry_watch_seconds: float = Field(
        default=5.0, gt=0, le=3600, description="Between two looks at what expired or soon will."
    )
    checker_seconds: float = Field(
        default=5.0, gt=0, le=3600, description="Between two slices of the comparison of ledger and balances."
    )
