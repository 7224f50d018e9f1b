"""What is going on, for a person: a line for each server and service, redrawn in place where that is possible."""

import threading
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

_WIDTH = 12


class Board:
    """Shows what was reported last of each name; on a terminal in place, elsewhere (a log, CI) one line a report."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lines: dict[str, str] = {}
        self._live = Live(console=console, refresh_per_second=8) if console.is_terminal else None
        self._lock = threading.Lock()  # downloads report from a thread

    def report(self, name: str, state: str) -> None:
        with self._lock:
            self._lines[name] = state
            if self._live is None:
                self._console.print(f"{name:<{_WIDTH}} {state}", markup=False, highlight=False, soft_wrap=True)
            else:
                self._live.update(self._table())

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for name, state in self._lines.items():
            colour = "green" if state.startswith("ready") else "red" if state.startswith("failed") else "yellow"
            table.add_row(name, Text(state, style=colour))
        return table
