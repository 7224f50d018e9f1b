"""What only integration needs to know to run; everything else is `delivery.settings`."""

from functools import cache

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from contracts.values import Currency
from delivery.settings import read_settings


class CompanySettings(BaseSettings):
    """Each field is the environment variable of the same name in capitals."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    company_currency: Currency = Field(
        default="CNY",
        description="ISO 4217. Every cost is kept and posted in it; one in another currency is refused, not converted.",
    )


@cache
def company_currency() -> str:
    """The company's one currency, read once."""
    return read_settings(CompanySettings).company_currency
