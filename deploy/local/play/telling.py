"""How the story is told: numbered steps, short sentences, tables and trees; at most 100 columns, plain in a log."""

import time
from collections.abc import Iterable, Sequence
from decimal import Decimal

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

COLUMNS = 100

_MARGIN = (0, 0, 0, 4)


class Telling:
    """Says what happens while it happens. Colours only where `console` is a terminal."""

    def __init__(self, console: Console) -> None:
        width = min(COLUMNS, console.width) if console.is_terminal else COLUMNS
        self._console = Console(
            file=console.file,
            width=width,
            force_terminal=console.is_terminal,
            no_color=console.no_color,
            highlight=False,
            emoji=False,
        )
        self._began = time.monotonic()
        self._spaced = False

    def title(self, text: str, below: str) -> None:
        """What this is."""
        self._blank()
        self._print(Text(text, style="bold"))
        self._print(Text(below, style="dim"))

    def step(self, number: int | str, title: str) -> None:
        """A new part of the story; the seconds since its beginning stand at the right."""
        seconds = f"{time.monotonic() - self._began:.1f} s"
        head = f" {number}  {title}"
        self._blank()
        line = Text(head.ljust(self._console.width - len(seconds)), style="bold cyan")
        self._print(line + Text(seconds, style="dim"))

    def say(self, sentence: str) -> None:
        """Something happened."""
        self._indented(Text(sentence))

    def refused(self, sentence: str) -> None:
        """Something was rightly refused."""
        self._indented(Text("⊘ ", style="yellow") + Text(sentence, style="yellow"))

    def table(
        self, columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[str] = (), title: str = ""
    ) -> None:
        """Rows under `columns`, those in `right` aligned there. A row whose first cell begins with `Σ` is a sum."""
        table = Table(
            box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, title=title or None, title_justify="left",
            title_style="bold", header_style="dim",
        )  # fmt: skip
        for column in columns:
            table.add_column(column, justify="right" if column in right else "left", overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row), style="bold" if row and row[0].startswith("Σ") else None)
        self._blank()
        self._indented_block(table)
        self._blank()

    def tree(self, tree: Tree) -> None:
        """A tree as it was built."""
        self._indented_block(tree)

    def check(self, holds: bool, what: str, numbers: str) -> None:
        """One line of the last page."""
        line = Text.assemble(
            ("✓ ", "green") if holds else ("✗ ", "bold red"),
            what.ljust(52),
            (numbers, "dim" if holds else "red"),
        )
        self._indented(line, hang=54)

    def failed(self, step: str, why: str, log: str) -> None:
        """What did not come true, why, and where more is to be read."""
        self._blank()
        self._print(Text(f"✗ {step}", style="bold red"))
        self._indented(Text(why))
        self._indented(Text(f"log: {log}", style="dim"))

    def end(self, text: str, *, well: bool) -> None:
        """The last sentence."""
        self._blank()
        self._print(Text(text, style="bold green" if well else "bold red"))

    def _blank(self) -> None:
        """An empty line, unless there is one."""
        if not self._spaced:
            self._console.print()
        self._spaced = True

    def _print(self, line: Text) -> None:
        self._console.print(line)
        self._spaced = False

    def _indented_block(self, block: Table | Tree) -> None:
        """At the margin; without the blanks that fill its lines up."""
        with self._console.capture() as captured:
            self._console.print(Padding(block, _MARGIN, expand=False))
        self._console.file.writelines(f"{line.rstrip()}\n" for line in captured.get().splitlines())
        self._spaced = False

    def _indented(self, text: Text, *, hang: int = 2) -> None:
        """Wrapped at the margin; what follows the first line stands `hang` columns further right."""
        first, *others = text.wrap(self._console, self._console.width - 4) or [text]
        self._print(Text("    ") + _stripped(first))
        if others:
            rest = Text(" ").join(others)
            for line in rest.wrap(self._console, self._console.width - 4 - hang):
                self._print(Text(" " * (4 + hang)) + _stripped(line))


def _stripped(line: Text) -> Text:
    """Without the blank at which it was wrapped."""
    line.rstrip()
    return line


def number(value: Decimal | str | int, places: int | None = None) -> str:
    """For people: thousands apart, no needless zeros; with `places`, exactly as many."""
    exact = Decimal(value)
    if places is not None:
        return f"{exact:,.{places}f}"
    text = f"{exact:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def money(value: Decimal | str | None) -> str:
    """An amount with two places; `unknown` is not zero."""
    return "unknown" if value is None else number(value, 2)


def count(quantity: int, one: str, many: str | None = None) -> str:
    """`1 batch`, `3 batches`."""
    return f"{quantity:,} {one if quantity == 1 else many or one + 's'}"
