"""A roll-out under load from the version before: services are migrated while it serves, then replaced one by one."""

from pathlib import Path

import pytest

from deploy.checkouts import commit_of, version_at
from deploy.local.faults import Missing
from deploy.local.processes import HERE, SERVICES, Checkout
from deploy.local.servers import Servers
from faults.rolling import Roll, report, roll

pytestmark = [pytest.mark.journey, pytest.mark.long]

PREVIOUS = (Path(__file__).parent / "previous_version.txt").read_text().split()[0]


@pytest.fixture
def before(tmp_path: Path) -> Checkout:
    """The version before; where the history is not there (a shallow clone), this one once more."""
    try:
        return version_at(commit_of(PREVIOUS), tmp_path / "before")
    except Missing as missing:
        print(f"this version is rolled over itself: {missing}")
        return HERE


@pytest.mark.timeout(400)
async def test_every_service_is_replaced_under_load_and_no_call_fails_and_nothing_is_lost_or_doubled(
    own_servers: Servers, before: Checkout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rolled = await roll(Roll(seed=20261123, before=before), own_servers, tmp_path)
    with capsys.disabled():
        print(f"\n{report(rolled)}")
    assert rolled.differences == []
    assert rolled.replaced == 2 * len(SERVICES)
    assert rolled.migrated == ([] if before == HERE else list(SERVICES))
    assert rolled.retried > 0, "no call met a replica that was down: the roll was not under load"
    assert len(rolled.end_to_end) >= 10
