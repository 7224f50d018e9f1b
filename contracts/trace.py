"""What trace says: recalls, batch by batch, under the item whose stock they freeze."""

from uuid import UUID

from pydantic import Field

from contracts.event import Event
from contracts.values import BatchNo, Code, Moment, Text


class RecallOpened(Event):
    """Quality recalls a batch and everything made from it. Said under the seed batch's item."""

    recall_id: UUID
    item_id: Code
    batch_id: UUID
    batch_no: BatchNo
    reason: Text
    batches: int = Field(ge=1, description="How many batches are in scope, the seed among them.")
    opened_at: Moment


class BatchRecalled(Event):
    """One batch of a recall's scope: inventory holds it, allocation takes its promises back."""

    recall_id: UUID
    item_id: Code
    batch_id: UUID
    batch_no: BatchNo
    seed: bool
    reason: Text
    recalled_at: Moment


class BatchRecallLifted(Event):
    """One batch left a recall's scope, with a reason."""

    recall_id: UUID
    item_id: Code
    batch_id: UUID
    reason: Text
    lifted_at: Moment


class RecallClosed(Event):
    """The recall is over: every quantity was accounted for, or it was said what was not."""

    recall_id: UUID
    item_id: Code
    reason: Text
    closed_at: Moment
