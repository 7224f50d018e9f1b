"""The broker's jars come whole or not at all, once, and are the ones that were listed."""

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deploy.local import jars
from deploy.local.faults import Missing

CONTENT = {name: f"{name}, compiled".encode() * 1000 for name in ("broker", "logger", "parser")}


def listed(name: str) -> jars.Jar:
    content = CONTENT[name]
    return jars.Jar("org.example", name, "1.0", len(content), hashlib.sha256(content).hexdigest())


class Repository:
    """A Maven repository in little: serves `content`, counts what was asked for, and may tear its answers."""

    def __init__(self) -> None:
        self.content = dict(CONTENT)
        self.torn: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        repository = self

        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.split("/")[3]
                if not self.path.endswith(".jar"):
                    self.send_error(404)
                    return
                repository.asked[name] += 1
                content = repository.content[name]
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if repository.torn[name] > 0:
                    repository.torn[name] -= 1
                    content = content[:10]
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    """A repository that is asked instead of Maven Central, for a short list of jars and an empty cache."""
    found = Repository()
    threading.Thread(target=found.server.serve_forever, args=(0.02,), daemon=True).start()
    short_list = tmp_path / "kafka_jars.json"
    short_list.write_text(json.dumps([asdict(listed(name)) for name in CONTENT]))
    monkeypatch.setattr(jars, "_LIST", short_list)
    monkeypatch.setenv("BATCHWISE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("BATCHWISE_MAVEN", found.url)
    yield found
    found.server.shutdown()
    found.server.server_close()


def held(cache: Path) -> list[str]:
    """What the cache holds, beside locks."""
    return sorted(path.name for path in cache.iterdir() if path.suffix != ".lock")


def test_an_empty_cache_is_filled_once(repository: Repository) -> None:
    said: list[str] = []
    folder = jars.kafka_jars(said.append)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == {
        f"{name}-1.0.jar": content for name, content in CONTENT.items()
    }
    assert jars.kafka_jars(said.append) == folder
    assert repository.asked == {"broker": 1, "logger": 1, "parser": 1}
    assert said == ["downloading Apache Kafka 4.2.0 (0 MB, once)"]


def test_many_at_once_download_once(repository: Repository) -> None:
    with ThreadPoolExecutor(6) as pool:
        folders = list(pool.map(lambda _: jars.kafka_jars(), range(6)))
    assert len(set(folders)) == 1
    assert repository.asked == {"broker": 1, "logger": 1, "parser": 1}


def test_a_torn_download_is_tried_again(repository: Repository) -> None:
    repository.torn["logger"] = 1
    folder = jars.kafka_jars()
    assert (folder / "logger-1.0.jar").read_bytes() == CONTENT["logger"]
    assert repository.asked["logger"] == 2


def test_a_jar_that_is_not_the_listed_one_is_refused_and_nothing_is_kept(
    repository: Repository, tmp_path: Path
) -> None:
    repository.content["parser"] = b"something else"
    with pytest.raises(Missing, match=r"^parser-1\.0\.jar was downloaded with SHA-256 .* it was not kept$"):
        jars.kafka_jars()
    assert held(tmp_path / "cache") == []


def test_a_cache_with_a_gap_is_mended(repository: Repository) -> None:
    folder = jars.kafka_jars()
    (folder / "broker-1.0.jar").unlink()
    (folder / "logger-1.0.jar").write_bytes(b"half")
    assert jars.kafka_jars() == folder
    assert (folder / "broker-1.0.jar").read_bytes() == CONTENT["broker"]
    assert (folder / "logger-1.0.jar").read_bytes() == CONTENT["logger"]


def test_what_a_killed_download_left_is_taken_away(repository: Repository, tmp_path: Path) -> None:
    final = jars.kafka_jars()
    for file in final.iterdir():
        file.unlink()
    final.rmdir()
    leftover = final.with_name(f"{final.name}.partial-killed")
    leftover.mkdir()
    jars.kafka_jars()
    assert held(tmp_path / "cache") == [final.name]


def test_without_network_and_cache_the_reason_is_one_line(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCHWISE_MAVEN", "http://127.0.0.1:1")
    monkeypatch.setattr(jars.time, "sleep", lambda seconds: None)
    with pytest.raises(Missing) as missing:
        jars.kafka_jars()
    said = str(missing.value)
    assert "\n" not in said
    assert said.startswith("Apache Kafka 4.2.0 is not in the cache")
    assert "Connection refused" in said
    assert "KAFKA_BOOTSTRAP_SERVERS" in said


def test_the_committed_list_has_every_root_and_a_hash_for_each_jar() -> None:
    found = jars.listed_jars()
    assert {f"{jar.group}:{jar.name}:{jar.version}" for jar in found} >= set(jars.ROOTS)
    assert all(len(bytes.fromhex(jar.sha256)) == 32 and jar.size > 0 for jar in found)
    assert len({(jar.group, jar.name) for jar in found}) == len(found)
