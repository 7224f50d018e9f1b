"""What the table of `make bench` says of a figure."""

from bench.clients import Result
from bench.figures import figure, percentiles
from bench.peers import PEERS


def test_a_rate_is_compared_with_the_fastest_peer_and_a_time_with_the_quickest() -> None:
    assert figure("W5", "", 4_400, "lines/s")["ratio"] == round(4_400 / max(PEERS["W5"].values()), 1) == 100
    assert figure("W9", "", 3.1, "ms")["ratio"] == round(min(PEERS["W9"].values()) / 3.1, 1) == 10


def test_a_goal_holds_at_the_limit_of_a_rate_and_only_below_that_of_a_time() -> None:
    assert figure("", "", 500, "1/s", at_least=500)["holds"] is True
    assert figure("", "", 499.99, "1/s", at_least=500)["holds"] is False
    assert figure("", "", 20, "ms", at_most=20)["holds"] is False
    assert figure("", "", 19.99, "ms", at_most=20)["holds"] is True
    assert figure("", "", 0, "batches", at_most=0)["holds"] is True
    assert figure("", "", 1, "batches", at_most=0)["holds"] is False
    assert figure("", "", 1, "ms")["holds"] is None


def test_efficiency_is_ours_over_the_bound_of_the_same_run() -> None:
    assert figure("", "", 300, "1/s", bound=1_000)["efficiency"] == 0.3
    assert "efficiency" not in figure("", "", 300, "1/s")


def test_percentiles_count_from_when_a_call_was_due_so_that_waiting_for_a_connection_counts() -> None:
    calls = Result(
        due=[0.0] * 100,
        answered=[n / 1000 for n in range(1, 101)],
        statuses={200: 100},
        unexpected=[],
        bodies=[],
        answer_bytes=0,
        seconds=1,
        cpu_share=0.1,
    )
    assert [round(each) for each in percentiles(calls)] == [51, 100]
