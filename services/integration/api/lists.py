"""What all lists of this service have in common: who may read, and how long a page is."""

from typing import Annotated, TypeVar

from fastapi import Query

from delivery.problems import problem

EVERYONE = ("operator", "inspector", "supervisor", "planner", "quality", "integrator", "auditor")
"""Roles that may read what is not about money."""

OFFICE = ("supervisor", "planner", "quality", "integrator", "auditor")
"""Roles that may read what is about money."""

WRITERS = ("integrator",)
"""Roles that may write (admin always may)."""

Limit = Annotated[int, Query(ge=1, le=500, description="How many at most.")]

Found = TypeVar("Found")


def found_or_404(found: Found | None, what: str, *, field: str) -> Found:
    """What was found, or a problem that names what was not, and the parameter that asked for it."""
    if found is None:
        raise problem(404, "not_found", f"there is no {what}", field=field)
    return found
