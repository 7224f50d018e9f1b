"""Thousands of generated calls: no fault of ours, no answer that OpenAPI does not know, no refusal without a name."""

import asyncio
import os

import httpx

from deploy.local.play.scene import Scene
from tests.hostile.calls import Known, Storm, learn_all, storm
from tests.hostile.conftest import FULL

CALLS = int(os.environ.get("HOSTILE_CALLS") or (2_000 if FULL else 100))
"""Per service, at least."""

OTHERS = ("olivia", "aiko")
"""Some calls are made by an operator and by an auditor."""


async def test_generated_calls_find_no_fault_and_no_answer_that_openapi_does_not_know(
    played_apart: Scene, start: int
) -> None:
    system = played_apart.world.system
    admin = system.issuer.mint("admin", ["admin"])
    tokens = [admin, *(system.token(user) for user in OTHERS)]
    async with httpx.AsyncClient(timeout=30) as client:
        documents = {name: (await client.get(f"{url}/openapi.json")).json() for name, url in system.urls.items()}
    known = Known()
    await asyncio.to_thread(learn_all, known, documents, system.urls, admin)
    assert len(known) > 200, "too little is known for calls to reach anything"
    storms: list[Storm] = []
    for name, document in documents.items():
        storms.append(
            await asyncio.to_thread(storm, name, document, system.urls[name], tokens, known, calls=CALLS, start=start)
        )
        print(storms[-1].told())
    failures = [text for each in storms for text in each.failures.values()]
    assert not failures, f"{len(failures)} kinds of failure\n\n" + "\n\n".join(failures)
    for each in storms:
        assert each.calls >= CALLS
        assert sum(count for status, count in each.statuses.items() if status < 300) > CALLS / 20, each.told()
    assert await _faults_in_the_logs(played_apart) == []


async def _faults_in_the_logs(scene: Scene) -> list[str]:
    """What the services logged as nobody's expectation."""
    found = []
    for name, log in scene.world.system.logs.items():
        text = await asyncio.to_thread(log.read_text, "utf-8", "replace")
        found += [f"{name}: {line}" for line in text.splitlines() if "a call failed" in line]
    return found
