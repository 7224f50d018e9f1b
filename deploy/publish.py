"""Write what outsiders read of the contracts: JSON Schemas, golden messages and the AsyncAPI document.

    python -m deploy.publish            write again what the code says; add the golden messages that are missing
    python -m deploy.publish --check    exit 1 with a diff when the committed files are not what the code says
    python -m deploy.publish release    freeze the schemas of today, when they are compatible with the released ones

A golden message is written once: one that was changed or removed is refused, never written again.
"""

import argparse
import difflib
import hashlib
import importlib
import importlib.util
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import contracts
from contracts.asyncapi import document, faults
from contracts.compatibility import released_problems
from contracts.event import Event, Topic
from contracts.examples import Message, missing_messages
from contracts.schema import Schema, path_of, schemas, text_of
from contracts.topics import TOPICS
from delivery.settings import Settings

ROOT = Path(contracts.__file__).parent
"""The folder that everything here is written to."""

_DIFF_LINES = 40
"""Of each file; the rest is counted."""


class Refused(Exception):
    """Nothing was written; the text says why, one reason a line."""


@dataclass
class Listeners:
    """Who listens to what, as the services' own code says it."""

    events: dict[str, list[type[Event]]] = field(default_factory=dict)
    foreign: dict[str, list[Topic]] = field(default_factory=dict)
    payloads: dict[str, Schema] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


def listeners() -> Listeners:
    """Ask every owner of a topic: `services.<name>.app` has a `service`, and may have `FOREIGN_PAYLOADS` by topic name.

    A service that is not written yet is named in `missing`. Raises `Refused` when one says topics that are not its own.
    """
    found = Listeners()
    for name in dict.fromkeys(topic.owner for topic in TOPICS if not topic.foreign):
        module = f"services.{name}.app"
        if importlib.util.find_spec(f"services.{name}") is None or importlib.util.find_spec(module) is None:
            found.missing.append(module)
            continue
        app = importlib.import_module(module)
        _refuse_other_topics(name, app.service.says)
        found.events[name] = _once(event for handler in app.service.hears for event in handler.events)
        found.foreign[name] = _once(
            handler.foreign_topic for handler in app.service.hears if hasattr(handler, "foreign_topic")
        )
        found.payloads |= getattr(app, "FOREIGN_PAYLOADS", {})
    return found


def _refuse_other_topics(service: str, says: Iterable[Topic]) -> None:
    said = {topic.name for topic in says}
    owned = {topic.name for topic in TOPICS if topic.owner == service}
    if said != owned:
        raise Refused(f"{service} says {sorted(said)}, and by contracts/topics.py it owns {sorted(owned)}")


def _once(values: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(values))


def generated(who: Listeners, golden: Mapping[str, Sequence[Message]]) -> dict[str, str]:
    """What follows from the code, by its path below `contracts/`. Raises `Refused` for a document nobody could use."""
    system = document(
        who.events,
        who.payloads,
        hears_foreign=who.foreign,
        examples={event.event_type: golden[path_of(topic, event)] for topic, event in _said()},
        partitions=Settings.model_fields["topic_partitions"].default,
    )
    if found := faults(system):
        raise Refused("\n".join(found))
    files = {f"schemas/{path}": text_of(schema) for path, schema in schemas().items()}
    return files | {"asyncapi.json": text_of(system)}


def golden_after(golden: Mapping[str, Sequence[Message]]) -> dict[str, list[Message]]:
    """The golden messages with those that are missing; what is there stays as it is."""
    complete = {path: list(messages) for path, messages in golden.items()}
    for topic, event in _said():
        there = complete.setdefault(path_of(topic, event), [])
        # Each added message may show what the next would be made for, so one is added at a time.
        while missing := missing_messages(topic, event, there):
            there.append(missing[0])
    return complete


def digests_of(golden: Mapping[str, Sequence[Message]]) -> dict[str, str]:
    """SHA-256 (hex) of every golden message, by its path and name. The order of its fields does not count."""
    return {
        f"{path} {message['name']}": hashlib.sha256(
            json.dumps(message, sort_keys=True, separators=(",", ":")).encode()
        ).hexdigest()
        for path, messages in sorted(golden.items())
        for message in messages
    }


def rewritten(golden: Mapping[str, Sequence[Message]], digests: Mapping[str, str]) -> list[str]:
    """The golden messages that are no longer what they were when they were written."""
    now = digests_of(golden)
    return [
        f"golden/{name}: {'gone' if name not in now else 'changed'}; what was said cannot be unsaid: "
        "restore it, and add a message of another name"
        for name, digest in digests.items()
        if now.get(name) != digest
    ]


def publish(root: Path, who: Listeners, *, check: bool) -> list[str]:
    """Write the files, or with `check` only compare them; returns what was written or differs, ready to print.

    Raises `Refused` when golden messages were rewritten.
    """
    golden, digests = _golden(root), _digests(root)
    if found := rewritten(golden, digests):
        raise Refused("\n".join(found))
    complete = golden_after(golden)
    files = generated(who, complete)
    files |= {
        f"golden/{path}": text_of(messages) for path, messages in complete.items() if messages != golden.get(path)
    }
    files |= {"golden/digests.json": text_of(digests_of(complete))}
    stale = sorted({f"schemas/{path}" for path in _read_all(root / "schemas")} - files.keys())
    report = []
    for path, text in sorted(files.items()):
        before = (root / path).read_text() if (root / path).exists() else ""
        if before == text:
            continue
        if check:
            report += _diff(path, before, text)
        else:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
            report.append(f"wrote contracts/{path}")
    for path in stale:
        report.append(f"contracts/{path}: no event of this name is said any more")
        if not check:
            (root / path).unlink()
    return report


def release(root: Path) -> list[str]:
    """Freeze the schemas of today below `released/v1`; returns what was added or grew.

    Raises `Refused` with every change that is not allowed within a topic version.
    """
    now, before = schemas(), _read_all(root / "released" / "v1")
    if found := released_problems(before, now):
        raise Refused("\n".join(map(str, found)))
    report = []
    for path, schema in now.items():
        if before.get(path) != schema:
            target = root / "released" / "v1" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text_of(schema))
            report.append(f"released contracts/released/v1/{path}")
    return report


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """The command. Returns the exit code: 0 all is as the code says, 1 it is not, or it was refused."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.publish", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 with a diff when something differs")
    parser.add_argument("what", nargs="?", choices=["release"], help="freeze the schemas of today")
    asked = parser.parse_args(arguments)
    if asked.check and asked.what:
        parser.error("--check writes nothing, and release writes")
    try:
        if asked.what == "release":
            report = release(root)
            print(*report or ["nothing new to release"], sep="\n")
            return 0
        who = listeners()
        for module in who.missing:
            print(f"note: {module} is not there; what it hears is not in the document", file=sys.stderr)
        report = publish(root, who, check=asked.check)
        problems = [str(problem) for problem in released_problems(_read_all(root / "released" / "v1"), schemas())]
    except (Refused, ValueError) as refused:  # the second: what the contracts themselves say is wrong
        print(f"refused, nothing was written:\n{refused}", file=sys.stderr)
        return 1
    print(*report, *problems, sep="\n", end="\n" if report or problems else "")
    if problems:
        print("These changes need a new topic version beside the released one.", file=sys.stderr)
    elif asked.check and report:
        print("Not what the code says: run `make contracts` and commit what it wrote.", file=sys.stderr)
    return 1 if problems or (asked.check and report) else 0


def _said() -> list[tuple[Topic, type[Event]]]:
    return [(topic, event) for topic in TOPICS for event in topic.events]


def _golden(root: Path) -> dict[str, list[Message]]:
    return {path: messages for path, messages in _read_all(root / "golden").items() if "/" in path}


def _digests(root: Path) -> dict[str, str]:
    path = root / "golden" / "digests.json"
    digests: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    return digests


def _read_all(folder: Path) -> dict[str, Any]:
    return {str(path.relative_to(folder)): json.loads(path.read_text()) for path in sorted(folder.rglob("*.json"))}


def _diff(path: str, before: str, after: str) -> list[str]:
    lines = list(
        difflib.unified_diff(
            before.splitlines(),
            after.splitlines(),
            f"contracts/{path} (committed)",
            f"contracts/{path} (code)",
            "",
            "",
            2,
            "",
        )
    )
    cut = len(lines) - _DIFF_LINES
    return [*lines[:_DIFF_LINES], *([f"… and {cut} more lines"] if cut > 0 else [])]


if __name__ == "__main__":
    sys.exit(main())
