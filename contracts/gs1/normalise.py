"""Repairs what scanners and keyboards do to a scan, before it is read strictly."""

from __future__ import annotations

import re
from dataclasses import dataclass

from contracts.gs1.digital_link import is_link

_GS = "\x1d"
_PLAIN = ("]d1", "]Q1", "]J0")
_symbology = re.compile(r"\][A-Za-z][0-9A-Za-z]").match
_COMPOSITE = re.compile(r"(\|\]e0)")


@dataclass(frozen=True, slots=True)
class ScannerProfile:
    """What one kind of device does to its scans.

    `separators` are the texts it sends for GS (ASCII 29). The default ones cannot be part of any GS1 value; "<GS>"
    can, so name it only for a device that is known to send it. `prefix` and `suffix` are what the device adds around
    the data.
    """

    separators: tuple[str, ...] = ("{GS}", "|", "~", "␝")
    prefix: str = ""
    suffix: str = ""

    def __post_init__(self) -> None:
        if "" in self.separators:
            raise ValueError("separator '' of a scanner profile is empty: 1 character at least")


@dataclass(frozen=True, slots=True)
class NormalisedScan:
    """A scan as it can be read, and what had to be done for that. Positions in errors count in its `text`."""

    text: str
    changes: tuple[str, ...] = ()

    @property
    def normalised(self) -> bool:
        """Whether anything had to be done."""
        return bool(self.changes)


def normalise(scan: str, profile: ScannerProfile) -> NormalisedScan:
    """Take off what the device added, put GS where it sent something else, drop a GS too many.

    A Digital Link or other plain data has no separators: it is left alone but for prefix and suffix.
    """
    changes: list[str] = []
    text = scan
    if profile.prefix and text.startswith(profile.prefix):
        text = text.removeprefix(profile.prefix)
        changes.append(f"took off the prefix {profile.prefix!r}")
    if profile.suffix and text.endswith(profile.suffix):
        text = text.removesuffix(profile.suffix)
        changes.append(f"took off the suffix {profile.suffix!r}")

    symbology = found[0] if (found := _symbology(text)) else ""
    data = text[len(symbology) :]
    if symbology in _PLAIN or is_link(data):
        return NormalisedScan(text, tuple(changes))

    for separator in profile.separators:
        # A bar before the identifier of a composite symbol joins two symbols and is no separator.
        parts = _COMPOSITE.split(data)
        count = sum(part.count(separator) for part in parts[::2])
        if count and separator != _GS:
            data = "".join(part if i % 2 else part.replace(separator, _GS) for i, part in enumerate(parts))
            changes.append(f"replaced {separator!r} by GS {count} {'time' if count == 1 else 'times'}")
    # What looks like a second symbology identifier stays visible as data, so that reading it is refused.
    if data.startswith(_GS) and not _symbology(data.lstrip(_GS)):
        data = data.lstrip(_GS)
        changes.append("dropped GS before the first element")
    if _GS * 2 in data:
        data = re.sub(_GS + "{2,}", _GS, data)
        changes.append("dropped repeated GS")
    return NormalisedScan(symbology + data, tuple(changes))
