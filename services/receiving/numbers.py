"""Batch numbers handed out ahead of the goods, for labels."""

from collections.abc import Sequence

from delivery import Answer, Refusal, Work, does
from services.receiving.bodies import IssueNumbers
from services.receiving.rows import Changes
from services.receiving.settings import receiving_settings
from services.receiving.store import ReceivingStore, SeriesWish
from services.receiving.views import NumbersView


@does(IssueNumbers)
async def issue_numbers(work: Work, commands: Sequence[IssueNumbers]) -> Sequence[Answer]:
    """Hand out numbers; each is handed out once, and none that a batch already has. The items are locked."""
    store = ReceivingStore(work.db)
    settings = receiving_settings()
    items = await store.items({command.item_id for command in commands})
    sites = await store.sites({command.site_id for command in commands if command.site_id is not None})
    days = [command.on or settings.day_at(command.site_id or "", work.now, sites) for command in commands]
    free = await store.free_numbers(
        settings.pattern,
        (
            SeriesWish(command.item_id, on, command.supplier_id, command.count)
            for command, on in zip(commands, days, strict=True)
            if command.item_id in items
        ),
    )
    changes = Changes()
    answers = []
    for command, on in zip(commands, days, strict=True):
        person = work.cause(command).person
        assert person is not None  # noqa: S101  # commands come by HTTP
        if command.item_id not in items:
            says = f"item {command.item_id!r} is not in the catalog"
            answers.append(Refusal(409, "unknown_item", says, field="item_id"))
            continue
        series = (command.item_id, on, command.supplier_id)
        numbers = [number for _ in range(command.count) if (number := free.take(*series, changes, person.subject))]
        if len(numbers) < command.count:
            says = free.exhausted(*series) or "another supplier's numbers are the same"
            answers.append(
                Refusal(
                    409,
                    "batch_numbers_exhausted",
                    f"{len(numbers)} of {command.count} numbers are left: {says}",
                    field="count",
                )
            )
            continue
        answers.append(Answer(NumbersView(item_id=command.item_id, batch_nos=numbers), 201))
    await store.save(changes, work)
    return answers
