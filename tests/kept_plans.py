"""The plans of statements, as services keep them from the day on which their tables are empty."""

from collections.abc import Sequence
from typing import Any

from delivery import Pool
from delivery.database import transaction_by_key


class Overheard:
    """In place of a connection: keeps what was asked, with how many arguments, and finds nothing."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    async def fetch(self, sql: str, *args: object) -> Sequence[Any]:
        self.asked.append((sql, len(args)))
        return []

    async def execute(self, sql: str, *args: object) -> str:
        self.asked.append((sql, len(args)))
        return ""


async def kept_plan(pool: Pool, sql: str, args: int) -> str:
    """What PostgreSQL would do at every call of a statement with so many arguments, in the transaction of a chunk."""
    async with transaction_by_key(pool) as db:
        await db.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        await db.execute(f"PREPARE kept AS {sql}")
        rows = await db.fetch(f"EXPLAIN EXECUTE kept ({', '.join(['NULL'] * args)})")
        await db.execute("DEALLOCATE kept")
    return "\n".join(row[0] for row in rows)


def walked_through(plan: str) -> list[str]:
    """The steps of a plan that read all of a table or of an index, whatever is asked."""
    lines = [line.strip() for line in plan.splitlines()]
    return [
        line
        for line, below in zip(lines, [*lines[1:], ""], strict=True)
        if "Seq Scan" in line or ("Index" in line and " Scan " in line and not below.startswith("Index Cond"))
    ]
