"""A seed gives the same run again."""

from itertools import islice

from faults.plan import BEYOND_SESSION, Toll, deliveries, faults, orders, productions


def test_the_same_seed_plans_the_same_deeds_and_the_same_faults() -> None:
    for planned in (deliveries, orders, productions):
        first, again, other = (list(islice(planned(seed, "one"), 50)) for seed in (7, 7, 8))
        assert first == again
        assert first != other
    assert faults(7, 600, Toll()) == faults(7, 600, Toll())
    assert faults(7, 600, Toll()) != faults(8, 600, Toll())


def test_a_full_run_has_as_many_faults_as_were_asked_for() -> None:
    planned = faults(1, 600, Toll())
    counted = {kind: sum(fault.kind == kind for fault in planned) for kind in {fault.kind for fault in planned}}
    assert counted["kill"] >= 200
    assert counted["broker kill"] >= 5
    assert counted["database kill"] >= 5
    assert sum(fault.kind == "freeze" and fault.seconds >= BEYOND_SESSION for fault in planned) >= 10
    assert {fault.service for fault in planned if fault.kind == "kill"} == {
        "receiving", "inventory", "allocation", "trace", "integration",
    }  # fmt: skip


def test_a_shorter_run_has_fewer_faults_in_proportion_and_one_of_each_at_least() -> None:
    assert Toll().scaled(0.2).kills == Toll().kills // 5
    assert min(getattr(Toll().scaled(0.01), name) for name in Toll.__dataclass_fields__) == 1
    planned = faults(1, 120, Toll().scaled(0.2))
    assert all(0 <= fault.at < 120 for fault in planned)
    assert [fault.at for fault in planned] == sorted(fault.at for fault in planned)
