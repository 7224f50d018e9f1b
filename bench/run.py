"""One run of the benchmark: which works, on which servers."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deploy.local.servers import Servers


@dataclass(frozen=True, slots=True)
class Run:
    """The servers of this run, a folder for logs, the works that are wanted (none named: all), and who is told."""

    servers: Servers
    folder: Path
    works: frozenset[str]
    say: Callable[[str], None] = print

    def wants(self, *works: str) -> bool:
        """Whether one of these is to be measured."""
        return not self.works or not self.works.isdisjoint(works)
