"""Quality corrects the dates of a batch; the earlier ones stay readable."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from contracts.receiving import BatchDatesCorrected
from delivery import Answer, Refusal, Work, does, new_id
from services.receiving.announcing import kept, told
from services.receiving.bodies import CorrectDatesBody
from services.receiving.domain.batches import corrected
from services.receiving.domain.reasons import Reason
from services.receiving.domain.sites import NOWHERE
from services.receiving.rows import Changes, DecisionRow
from services.receiving.settings import receiving_settings
from services.receiving.store import ReceivingStore
from services.receiving.views import KnownBatch


@dataclass(frozen=True, slots=True)
class CorrectDates:
    """Give a batch other dates as the body says."""

    batch_id: UUID
    body: CorrectDatesBody


@does(CorrectDates)
async def correct_dates(work: Work, commands: Sequence[CorrectDates]) -> Sequence[Answer]:
    """Correct dates in order, each with its reason."""
    store = ReceivingStore(work.db)
    wanted = {command.batch_id for command in commands}
    await work.lock(batch.item_id for batch in (await store.batches(wanted)).values())
    batches = await store.batches(wanted)
    items = await store.items({batch.item_id for batch in batches.values()})
    latest = receiving_settings().latest_day_at(None, work.now, NOWHERE, now=work.now)
    changes = Changes()
    answers = []
    for command in commands:
        person = work.cause(command).person
        assert person is not None  # noqa: S101  # commands come by HTTP
        before = batches.get(command.batch_id)
        if before is None:
            answers.append(Refusal(404, "unknown_batch", f"batch {command.batch_id} is not known", field="batch_id"))
            continue
        body = command.body
        if body.manufactured_on is None and body.expires_on is None:
            answers.append(
                Refusal(
                    422,
                    "no_date",
                    "neither `manufactured_on` nor `expires_on` is given: one is needed",
                    field="expires_on",
                )
            )
            continue
        facts = corrected(
            before.facts,
            items.get(before.item_id),
            manufactured_on=body.manufactured_on,
            expires_on=body.expires_on,
            source=body.source,
            latest=latest,
        )
        if isinstance(facts, Reason):
            field = "manufactured_on" if facts.code == "manufactured_in_future" else "expires_on"
            answers.append(Refusal(409, facts.code, facts.text, field=field))
            continue
        after = replace(before, facts=facts)
        batches[after.batch_id] = after
        changes.corrected.append(after)
        changes.decisions.append(
            DecisionRow(
                new_id(),
                after.batch_id,
                "facts_corrected",
                person.subject,
                person.name,
                body.reason,
                kept(before.facts),
                kept(facts),
            )
        )
        event = BatchDatesCorrected(
            batch_id=after.batch_id,
            item_id=after.item_id,
            before=told(before.facts),
            after=told(facts),
            reason=body.reason,
            corrected_at=work.now,
        )
        view = KnownBatch(batch_id=after.batch_id, item_id=after.item_id, batch=told(facts))
        answers.append(Answer(view, 200, [event]))
    await store.save(changes, work)
    return answers
