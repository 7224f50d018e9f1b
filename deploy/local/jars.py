"""Apache Kafka's jars: fetched once with `jgo`, checked against the hashes in `kafka_jars.json`, kept in the cache.

`python -m deploy.local.jars` resolves the coordinates below again and writes that file: do it after a change of them.
"""

import hashlib
import json
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from deploy.local.cache import cache_folder, locked
from deploy.local.faults import Missing

VERSION = "4.2.0"
ROOTS = (
    f"org.apache.kafka:kafka_2.13:{VERSION}",
    # Named beside it, because the resolver otherwise chooses older ones.
    f"org.apache.kafka:kafka-clients:{VERSION}",
    "com.fasterxml.jackson.core:jackson-core:2.19.2",
    "com.fasterxml.jackson.core:jackson-databind:2.19.2",
    "com.fasterxml.jackson.core:jackson-annotations:2.19.2",
    # Without a logger the broker starts and fails in silence.
    "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3",
    "org.apache.logging.log4j:log4j-core:2.24.3",
)
MIRROR = "BATCHWISE_MAVEN"
"""The environment variable that names another Maven repository than Maven Central."""

_LIST = Path(__file__).with_name("kafka_jars.json")
_AT_ONCE = 8
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Jar:
    """One artifact of the broker; `size` in bytes."""

    group: str
    name: str
    version: str
    size: int
    sha256: str

    @property
    def file(self) -> str:
        return f"{self.name}-{self.version}.jar"


def listed_jars() -> tuple[Jar, ...]:
    return tuple(Jar(**entry) for entry in json.loads(_LIST.read_text()))


def kafka_jars(say: Callable[[str], None] = lambda line: None) -> Path:
    """The folder with every jar of the broker; downloads what the cache does not have (45 MB).

    Safe to call from several processes at once: one downloads, the others wait. The folder appears under its name
    only when it is whole. Blocks: call it from a thread.

    Raises:
        Missing: the jars are not in the cache and could not be downloaded, or are not the ones that were listed.
    """
    jars = listed_jars()
    fingerprint = hashlib.sha256(_LIST.read_bytes()).hexdigest()[:8]
    folder = cache_folder() / f"kafka-{VERSION}-{fingerprint}"
    if _is_whole(folder, jars):
        return folder
    with locked(folder.with_name(f"{folder.name}.lock")):
        if not _is_whole(folder, jars):
            say(f"downloading Apache Kafka {VERSION} ({sum(jar.size for jar in jars) / 1e6:.0f} MB, once)")
            _download(jars, folder)
    return folder


def _is_whole(folder: Path, jars: Sequence[Jar]) -> bool:
    found = {file.name: file.stat().st_size for file in folder.glob("*.jar")}
    return found == {jar.file: jar.size for jar in jars}


def _download(jars: Sequence[Jar], folder: Path) -> None:
    for leftover in folder.parent.glob(f"{folder.name}.partial-*"):  # of one who was killed while it held the lock
        shutil.rmtree(leftover, ignore_errors=True)
    partial = Path(tempfile.mkdtemp(prefix=f"{folder.name}.partial-", dir=folder.parent))
    try:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            fetched = list(pool.map(lambda jar: _fetch(jar, partial / "repository"), jars))
        whole = partial / "whole"
        whole.mkdir()
        for jar, file in zip(jars, fetched, strict=True):
            file.rename(whole / jar.file)
        shutil.rmtree(folder, ignore_errors=True)  # an incomplete one, after somebody removed files from it
        whole.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _fetch(jar: Jar, repository: Path) -> Path:
    import requests
    from jgo.maven import MavenContext

    # jgo only warns when a checksum differs; we compare with our own list below and refuse.
    logging.getLogger("jgo").setLevel(logging.ERROR)
    mirror = os.environ.get(MIRROR)
    repositories = {"mirror": mirror.rstrip("/")} if mirror else None
    context = MavenContext(repo_cache=repository, local_repos=[], remote_repos=repositories, timeout=30)
    artifact = context.project(jar.group, jar.name).at_version(jar.version).artifact()
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            file = Path(artifact.resolve())
        except (requests.RequestException, RuntimeError, OSError) as fault:
            if attempt == _ATTEMPTS:
                raise Missing(
                    f"Apache Kafka {VERSION} is not in the cache ({cache_folder()}) and could not be downloaded: "
                    f"{jar.file}: {_in_short(fault)}. Connect this machine to the network once, point BATCHWISE_CACHE "
                    "at a cache that has it, or set KAFKA_BOOTSTRAP_SERVERS"
                ) from fault
            artifact.cached_path.unlink(missing_ok=True)  # a torn download would be taken for a whole one
            time.sleep(attempt)
        else:
            break
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != jar.sha256:
        raise Missing(f"{jar.file} was downloaded with SHA-256 {found}, but {jar.sha256} is expected; it was not kept")
    return file


def _in_short(fault: BaseException) -> str:
    """The innermost reason: the outer ones only repeat addresses and retries."""
    while (inner := fault.__cause__ or fault.__context__) is not None:
        fault = inner
    return str(fault).splitlines()[0] if str(fault) else type(fault).__name__


def _list_again() -> None:
    from jgo.maven import MavenContext
    from jgo.parse import Endpoint

    with tempfile.TemporaryDirectory() as repository:
        context = MavenContext(repo_cache=Path(repository), local_repos=[])
        roots = [
            context.create_dependency(replace(coordinate, scope="compile"))
            for coordinate in Endpoint.parse("+".join(ROOTS)).coordinates
        ]
        named, others = context.resolver.resolve(roots)
        artifacts = [*(found.artifact for found in named)]
        artifacts += [found.artifact for found in others if found.scope in ("compile", "runtime")]
        jars = []
        for artifact in sorted(artifacts, key=lambda found: (found.groupId, found.artifactId)):
            content = Path(artifact.resolve()).read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            jars.append(Jar(artifact.groupId, artifact.artifactId, artifact.version, len(content), digest))
    _LIST.write_text(json.dumps([asdict(jar) for jar in jars], indent=1) + "\n")
    sys.stdout.write(f"{_LIST.name}: {len(jars)} jars\n")


if __name__ == "__main__":
    _list_again()
