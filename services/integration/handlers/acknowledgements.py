"""What the ERP did with postings: recorded once; a second, different answer is kept for a person."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from pydantic import ValidationError

from contracts.topics import ERP_ACKNOWLEDGEMENTS
from delivery import Announcements, Answer, ForeignMessage, NeverWorks, Refusal, Work, does, hears_foreign, new_id
from services.integration.handlers.demands import explain
from services.integration.messages import AcknowledgementBody, AcknowledgementMessage
from services.integration.store.acknowledgements import Acknowledged, AcknowledgementStore


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """What the ERP says of a posting."""

    posting_id: UUID
    answer: AcknowledgementBody


async def _record(work: Work, commands: Sequence[Acknowledge]) -> list[Acknowledged | None]:
    """The answer as it is now on record for each command; None for a posting that does not exist."""
    await work.lock(f"posting/{command.posting_id}" for command in commands)
    store = AcknowledgementStore(work.db)
    known = await store.known(command.posting_id for command in commands)
    fresh: list[Acknowledged] = []
    recorded: list[Acknowledged | None] = []
    for command in commands:
        before = known.get(command.posting_id)
        if before is None:
            recorded.append(None)
            continue
        said = command.answer
        answer = Acknowledged(
            new_id(),
            command.posting_id,
            said.accepted,
            said.erp_document,
            said.erp_year,
            said.code,
            said.text,
            counts=not before,
        )
        same = next((each for each in before if each.says_the_same_as(answer)), None)
        if same is None:
            before.append(answer)
            fresh.append(answer)
        recorded.append(same or answer)
    await store.keep(fresh, work.now)
    return recorded


@does(Acknowledge)
async def acknowledge(work: Work, commands: Sequence[Acknowledge]) -> Sequence[Answer]:
    """409 tells the caller that another answer was recorded before; his is kept beside it."""
    answers = []
    for command, recorded in zip(commands, await _record(work, commands), strict=True):
        if recorded is None:
            answers.append(
                Refusal(404, "unknown_posting", f"there is no posting {command.posting_id}", field="posting_id")
            )
        elif recorded.counts:
            status = "accepted" if recorded.accepted else "rejected"
            answers.append(Answer({"posting_id": command.posting_id, "status": status}))
        else:
            detail = f"posting {command.posting_id} was acknowledged otherwise before: this answer is kept and flagged"
            answers.append(Refusal(409, "acknowledged_otherwise", detail, field="posting_id"))
    return answers


@hears_foreign(ERP_ACKNOWLEDGEMENTS)
async def hear_acknowledgements(work: Work, records: Sequence[ForeignMessage]) -> Announcements:
    """As by HTTP; an answer to a posting that does not exist is parked."""
    commands = []
    for record in records:
        try:
            message = AcknowledgementMessage.model_validate_json(record.body)
        except ValidationError as error:
            raise NeverWorks(f"not an acknowledgement: {explain(error)}") from None
        commands.append(Acknowledge(message.posting_id, message))
    for command, recorded in zip(commands, await _record(work, commands), strict=True):
        if recorded is None:
            raise NeverWorks(f"there is no posting {command.posting_id}")
    return []
