"""What a run did and found, for people."""

from faults.run import Outcome

_SHOWN = 12
"""Differences of one check that are printed; the count says how many there are."""


def report(outcome: Outcome) -> str:
    """Everything that was done, and the table of checks; differences below their check."""
    done, struck = outcome.done, outcome.struck
    lines = [f"seed {outcome.ask.seed}: {outcome.ask.seconds / 60:g} minutes", "", "struck"]
    lines += [f"  {many:>7,}  {what}" for what, many in struck.most_common()]
    lines += ["", "done"]
    lines += [f"  {many:>7,}  {what}" for what, many in done.most_common()]
    lines += [
        f"  {outcome.echoed:>7,}  events of ours said again, word for word",
        f"  {outcome.events:>7,}  records on the topics",
        "",
        f"{outcome.given_up} parked messages replayed in vain and given up by a person",
        f"at rest {outcome.rest.seconds:.1f} s after every caller was told",
        "",
    ]
    for verdict in outcome.verdicts:
        many = len(verdict.differences)
        mark = "✓" if not many else "✗"
        lines.append(f"  {mark} {verdict.title:<62} {verdict.compared:<44} {many} differences")
        lines += [f"      {each}" for each in verdict.differences[:_SHOWN]]
    for each in [f"not at rest: {each}" for each in outcome.rest.unrest] + [*outcome.unasked]:
        lines.append(f"  ✗ {each}")
    total = len(outcome.differences)
    lines += ["", f"{total} differences" + (f"; logs: {outcome.logs}" if total else "")]
    return "\n".join(lines)
