"""Two minutes of everything that can go wrong, and five bugs that the same comparison finds."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from deploy.local.servers import Servers
from faults.plan import Toll
from faults.run import Ask, Outcome, play

pytestmark = [pytest.mark.journey, pytest.mark.asyncio(loop_scope="module")]


@pytest.mark.timeout(600)
async def test_two_minutes_of_faults_lose_nothing_and_double_nothing(own_servers: Servers, tmp_path: Path) -> None:
    ask = Ask(seed=11, seconds=120, toll=Toll().scaled(0.2))
    outcome = await play(ask, own_servers.apart("faults"), tmp_path)
    assert outcome.differences == []
    assert outcome.struck["service kills"] >= 40
    assert outcome.struck["freezes beyond the session"] >= 2
    assert outcome.struck["broker restarts"] >= 1
    assert outcome.struck["database restarts"] >= 1
    assert outcome.done["receiving receipt"] > 10
    assert outcome.done["allocation dispatch"] > 2


PLANTED = {
    "receiving": "answer-before-commit",
    "trace": "inbox-forgets",
    "integration": "relay-skips",
    "inventory": "balance-twice",
    "allocation": "key-mix-up",
}
"""One bug in each service: what each does is told apart by whose fault it is."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def spoiled(own_servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Outcome]:
    """A short run with all five bugs. Nothing strikes but the first bug itself, where it shows."""
    ask = Ask(
        seed=5,
        seconds=30,
        toll=Toll().only(()),
        # With these bugs it never comes to rest, and what went wrong shows at once.
        patience=30,
        planted=",".join(f"{service}={bug}" for service, bug in PLANTED.items()),
    )
    yield await play(ask, own_servers.apart("planted"), tmp_path_factory.mktemp("planted"))


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("bug", "check", "sentence"),
    [
        ("answer-before-commit", "what was acknowledged is there once", ": 1 times told to its caller, 0 times there"),
        ("inbox-forgets", "each inbox has exactly", "trace never took inventory."),
        ("relay-skips", "every announcement is on its topic", "integration announced "),
        ("balance-twice", "the ledger folded is the balances", "the ledger folds to "),
        ("key-mix-up", "each event stands under the key", "allocation."),
    ],
)
async def test_a_planted_bug_is_found(spoiled: Outcome, bug: str, check: str, sentence: str) -> None:
    assert bug in PLANTED.values()
    (verdict,) = [each for each in spoiled.verdicts if each.title.startswith(check)]
    assert [difference for difference in verdict.differences if sentence in difference], verdict.differences[:5]
