"""Records that no honest speaker sends, made from such as one did: every way to be wrong that we could think of."""

import json
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

Headers = tuple[tuple[str, bytes], ...]

LARGE = 10_000_000
"""Bytes of the largest bodies."""


@dataclass(frozen=True)
class Record:
    """What goes to a topic, and in words what is wrong with it."""

    wrong: str
    key: bytes | None
    value: bytes | None
    headers: Headers = field(default=())

    @property
    def event_id(self) -> str:
        """The id in its headers."""
        return dict(self.headers).get("ce_id", b"").decode("utf-8", "backslashreplace")


def again(record: Record, name: str) -> Record:
    """The same fact about something else: another name in key and body, other ids in body and headers."""
    # A key is a name, or a kind and a name: `item/WMP-25`.
    kind, slash, before = (record.key or b"").decode().rpartition("/")
    key = f"{kind}{slash}{name}"
    fresh: dict[str, str] = {}

    def renewed(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: renewed(each) for name, each in value.items()}
        if isinstance(value, list):
            return [renewed(each) for each in value]
        if isinstance(value, str) and value == before:
            return name
        if isinstance(value, str) and _is_uuid(value):
            return fresh.setdefault(value, str(uuid.uuid4()))
        return value

    event_id = str(uuid.uuid4()).encode()
    headers = {**dict(record.headers), "ce_id": event_id, "ce_subject": key.encode(), "ce_correlationid": event_id}
    headers.pop("ce_causationid", None)
    value = json.dumps(renewed(json.loads(record.value or b"{}"))).encode()
    return Record("nothing", key.encode(), value, tuple(headers.items()))


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def wrong_ones(good: Record, chance: random.Random) -> Iterator[Record]:
    """Everything that can be wrong with a copy of `good`; each is about something of its own.

    `good` must be well-formed. Every record has its own key, where it has one.
    """
    for n, bad in enumerate(_all_wrong(good, chance)):
        fresh = again(good, f"HX-{chance.getrandbits(32):08x}-{n}")
        yield bad(fresh)


def _all_wrong(good: Record, chance: random.Random) -> Iterator[Any]:
    yield from _wrong_bodies(chance)
    yield from _wrong_fields(json.loads(good.value or b"{}"))
    yield from _wrong_headers(good)
    yield from _wrong_keys()


def _wrong_bodies(chance: random.Random) -> Iterator[Any]:
    def told(wrong: str, value: bytes | None) -> Any:
        return lambda fresh: replace(fresh, wrong=wrong, value=value)

    def changed(wrong: str, change: Any) -> Any:
        return lambda fresh: replace(fresh, wrong=wrong, value=change(fresh.value))

    yield told("a tombstone", None)
    yield told("empty", b"")
    for n in range(6):
        yield told("random bytes", chance.randbytes(chance.choice((1, 7, 100, 4_000)) + n))
    for value in (b"null", b"[]", b"{}", b'"text"', b"-0", b"true", b"NaN", b"[1", b"\xef\xbb\xbf{}", b"\x00"):
        yield told(f"the body {value!r}", value)
    yield told("nested lists", b"[" * 200_000)
    yield told("nested objects", b'{"a":' * 100_000 + b"1" + b"}" * 100_000)
    yield told("one number of 10^6 digits", b"9" * 1_000_000)
    for part in (0.05, 0.5, 0.95):
        yield changed(f"cut after {part:.0%}", lambda value, part=part: value[: int(len(value) * part)])
    yield changed("twice in a row", lambda value: value + value)
    yield changed("bytes behind the end", lambda value: value + b"\x00\xff")
    yield changed("UTF-16", lambda value: value.decode().encode("utf-16"))
    yield changed(
        "deep in an unknown field", lambda value: value[:-1] + b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    )
    yield changed("NUL in an unknown field", lambda value: value[:-1] + b',"x\\u0000":"\\u0000"}')
    yield changed("half a character in an unknown field", lambda value: value[:-1] + b',"\\ud800":"\\udfff"}')
    yield changed("no UTF-8 in an unknown field", lambda value: value[:-1] + b',"x":"\xff\xfe"}')
    yield changed("NaN in an unknown field", lambda value: value[:-1] + b',"x":NaN,"y":-Infinity}')
    yield changed("1e999 in an unknown field", lambda value: value[:-1] + b',"x":1e999,"y":' + b"7" * 5_000 + b"}")
    yield changed("10 MB in an unknown field", lambda value: value[:-1] + b',"x":"' + b"x" * LARGE + b'"}')
    yield told("10 MB of nothing", b" " * LARGE)
    yield told("10 MB of random bytes", chance.randbytes(LARGE))


_WRONG_VALUES: tuple[tuple[str, bytes], ...] = (
    ("null", b"null"),
    ("a list", b"[]"),
    ("an object", b'{"a":1}'),
    ("true", b"true"),
    ("1e400", b"1e400"),
    ("NaN", b"NaN"),
    ("-1", b"-1"),
    ("2^70", b"1180591620717411303424"),
    ("10^5 digits", b"9" * 100_000),
    ("text of 10^6 digits", b'"' + b"9" * 1_000_000 + b'"'),
    ("text of 10^5 zeros", b'"0.' + b"0" * 100_000 + b'"'),
    ("text 1e999999999", b'"1e999999999"'),
    ("text NaN", b'"NaN"'),
    ("empty text", b'""'),
    ("NUL", b'"a\\u0000b"'),
    ("half a character", b'"\\ud800"'),
    ("no UTF-8", b'"\xff"'),
    ("300,000 bytes of words", b'"' + "批".encode() * 100_000 + b'"'),
    ("year 0", b'"0000-01-01"'),
    ("year 1", b'"0001-01-01"'),
    ("year 9999", b'"9999-12-31"'),
    ("year 10000", b'"10000-01-01"'),
    ("before year 1 in UTC", b'"0001-01-01T00:00:00+14:00"'),
    ("after year 9999 in UTC", b'"9999-12-31T23:59:59-14:00"'),
    ("no offset", b'"2026-03-02T09:00:00"'),
    ("a made-up word", b'"no-such-word"'),
)


def _wrong_fields(body: dict[str, Any]) -> Iterator[Any]:
    def put(name: str, wrong: str, value: bytes) -> Any:
        def change(fresh: Record) -> Record:
            now = json.loads(fresh.value or b"{}")
            text = json.dumps({**now, name: "@@"}).encode().replace(b'"@@"', value, 1)
            return replace(fresh, wrong=f"{name}: {wrong}", value=text)

        return change

    def left_out(name: str) -> Any:
        def change(fresh: Record) -> Record:
            now = {each: value for each, value in json.loads(fresh.value or b"{}").items() if each != name}
            return replace(fresh, wrong=f"{name}: left out", value=json.dumps(now).encode())

        return change

    def doubled(name: str) -> Any:
        def change(fresh: Record) -> Record:
            twice = json.dumps({name: "@@"}).encode()[1:-1].replace(b'"@@"', b'"another"')
            return replace(fresh, wrong=f"{name}: twice", value=b"{" + twice + b"," + (fresh.value or b"{}")[1:])

        return change

    for name in body:
        yield left_out(name)
        yield doubled(name)
        for wrong, value in _WRONG_VALUES:
            yield put(name, wrong, value)


def _wrong_headers(good: Record) -> Iterator[Any]:
    def with_headers(wrong: str, change: Any) -> Any:
        return lambda fresh: replace(fresh, wrong=wrong, headers=tuple(change(dict(fresh.headers)).items()))

    yield with_headers("no headers", lambda headers: {})
    for name in dict(good.headers):
        yield with_headers(
            f"no {name}", lambda headers, name=name: {each: value for each, value in headers.items() if each != name}
        )
        for value in (b"", b"\xff\xfe", b"a\x00b", b"x" * 100_000):
            yield with_headers(
                f"{name}: {value[:10]!r}", lambda headers, name=name, value=value: {**headers, name: value}
            )
    for name, value in (
        ("ce_time", b"yesterday"),
        ("ce_time", b"2026-03-02T09:00:00"),
        ("ce_time", b"0001-01-01T00:00:00+14:00"),
        ("ce_time", b"9999-12-31T23:59:59-14:00"),
        ("ce_type", b"nobody.Ever"),
        ("ce_specversion", b"99.0"),
        ("traceparent", b"00-zz-zz-zz"),
        ("traceparent", b"ff" * 5_000),
        ("content-type", b"application/xml"),
    ):
        yield with_headers(f"{name}: {value[:30]!r}", lambda headers, name=name, value=value: {**headers, name: value})
    yield with_headers("1,000 headers", lambda headers: {**headers, **{f"x-{n}": b"x" for n in range(1_000)}})
    yield with_headers("a header's name with NUL", lambda headers: {**headers, "x\x00y": b"1"})


def _wrong_keys() -> Iterator[Any]:
    for wrong, key in (
        ("no key", None),
        ("an empty key", b""),
        ("another key", b"another"),
        ("a key with NUL", b"a\x00b"),
        ("a key that is no UTF-8", b"\xff\xfe\xfd"),
        ("a key of 100,000 bytes", b"k" * 100_000),
    ):
        yield lambda fresh, wrong=wrong, key=key: replace(fresh, wrong=wrong, key=key)
