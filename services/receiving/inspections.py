"""Inspectors decide about pending goods, and sign."""

from collections.abc import Sequence
from dataclasses import fields
from decimal import Decimal

from pydantic import TypeAdapter, ValidationError

from contracts.receiving import BatchInspected
from contracts.values import Code, Signature
from delivery import Answer, Refusal, Work, does, new_id
from services.receiving.bodies import InspectBatch
from services.receiving.domain.inspection import Record, inspection_problem, record_hash
from services.receiving.domain.items import plain
from services.receiving.rows import Changes, DecisionRow
from services.receiving.store import ReceivingStore
from services.receiving.views import InspectionView

_code = TypeAdapter(Code)


@does(InspectBatch)
async def inspect_batches(work: Work, commands: Sequence[InspectBatch]) -> Sequence[Answer]:
    """Decide about pending goods in order; nobody decides about more than is pending."""
    store = ReceivingStore(work.db)
    batches = await store.batches({command.batch_id for command in commands})
    await work.lock(batch.item_id for batch in batches.values())
    items = await store.items({batch.item_id for batch in batches.values()})
    units = await store.units_received({command.batch_id for command in commands})
    pending = await store.pending({(command.batch_id, command.site_id) for command in commands})
    changes = Changes()
    answers = []
    for command in commands:
        person = work.cause(command).person
        assert person is not None  # noqa: S101  # commands come by HTTP
        batch = batches.get(command.batch_id)
        if batch is None:
            answers.append(Refusal(404, "unknown_batch", f"batch {command.batch_id} is not known", field="batch_id"))
            continue
        where = (command.batch_id, command.site_id)
        unit = units.get(command.batch_id) or items[batch.item_id].base_unit
        problem = inspection_problem(
            command.released,
            command.rejected,
            command.reason,
            pending=pending.get(where, Decimal(0)),
            unit=unit,
            where=f"of batch {batch.facts.batch_no!r} at {command.site_id}",
        )
        if problem is not None:
            status = 409 if problem.code == "more_than_pending" else 422
            field = "reason" if problem.code == "reason_missing" else "released"
            answers.append(Refusal(status, problem.code, problem.text, field=field))
            continue
        try:
            signer = _code.validate_python(person.subject)
        except ValidationError:
            answers.append(
                Refusal(
                    422,
                    "signer",
                    f"{person.subject!r} cannot sign: a signer's name has 1 to 40 printable ASCII characters",
                    field="Authorization",
                )
            )
            continue
        record = Record(
            inspection_id=new_id(),
            batch_id=batch.batch_id,
            item_id=batch.item_id,
            site_id=command.site_id,
            released=plain(command.released),
            rejected=plain(command.rejected),
            unit=unit,
            reason=command.reason,
            certificate=command.certificate,
            signer=signer,
            signer_name=person.name[:400],
            meaning=command.meaning,
            signed_at=work.now,
        )
        pending[where] -= record.released + record.rejected
        signed = record_hash(record)
        changes.inspections.append((record, signed))
        changes.decisions.append(
            DecisionRow(
                new_id(),
                batch.batch_id,
                "inspected",
                person.subject,
                person.name,
                command.reason,
                None,
                {
                    "inspection_id": str(record.inspection_id),
                    "site_id": record.site_id,
                    "released": f"{record.released:f}",
                    "rejected": f"{record.rejected:f}",
                    "unit": unit,
                },
            )
        )
        view = view_of(record, signed, holds=True)
        event = BatchInspected(
            **{name: getattr(view, name) for name in BatchInspected.model_fields if name != "inspected_at"},
            inspected_at=work.now,
        )
        answers.append(Answer(view, 201, [event]))
    await store.save(changes, work)
    return answers


def view_of(record: Record, signed_hash: str, *, holds: bool) -> InspectionView:
    """An inspection as it is answered."""
    values = {field.name: getattr(record, field.name) for field in fields(Record)}
    signature = Signature(
        **{name: values.pop(name) for name in ("signer", "signer_name", "meaning", "signed_at")},
        record_hash=signed_hash,
    )
    return InspectionView(**values, signature=signature, signature_holds=holds)
