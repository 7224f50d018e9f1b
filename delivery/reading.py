"""Reads over HTTP: the pool for queries, and pages."""

from typing import Generic, TypeVar

from fastapi import Request
from pydantic import BaseModel, Field

from delivery.database import Pool

Row = TypeVar("Row")


class Page(BaseModel, Generic[Row]):
    """Some of a long list. Ask again with `after=next` for more; `next` is absent on the last page."""

    items: list[Row]
    next: str | None = Field(default=None, description="Hand it in as `after` to get the following page.")


async def reading(request: Request) -> Pool:
    """A dependency: the pool, for queries that change nothing."""
    pool: Pool = request.app.state.runtime.pool
    return pool
