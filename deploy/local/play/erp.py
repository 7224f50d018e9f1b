"""A little ERP: it raises demands, books every cost posting it hears once, and acknowledges each."""

import datetime as dt
from collections import Counter
from decimal import Decimal
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.annotations import KafkaMessage

from contracts.integration import CostPosted
from contracts.topics import ERP_ACKNOWLEDGEMENTS, ERP_DEMANDS, POSTINGS
from deploy.local.play.input import Wanted


class Erp:
    """Keeps a book of its own: one document for each posting, and the value of each item that comes of them.

    `heard` counts the messages of each posting: Kafka may bring one again, and the book must not care.
    """

    def __init__(self, kafka: str, topic_prefix: str) -> None:
        self.documents: dict[UUID, str] = {}
        self.postings: dict[UUID, CostPosted] = {}
        self.heard: Counter[UUID] = Counter()
        self._broker = KafkaBroker(kafka, logger=None)
        self._demands = f"{topic_prefix}{ERP_DEMANDS.name}"
        self._acknowledgements = f"{topic_prefix}{ERP_ACKNOWLEDGEMENTS.name}"
        listens = self._broker.subscriber(
            f"{topic_prefix}{POSTINGS.name}",
            group_id=f"{topic_prefix}little-erp",
            auto_offset_reset="earliest",
            ack_policy=AckPolicy.NACK_ON_ERROR,
        )
        listens(self._book)

    async def __aenter__(self) -> Self:
        await self._broker.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._broker.stop()

    async def raise_demand(self, wanted: Wanted) -> None:
        """Publish a demand, keyed by its item, so that the demands for one item stay in order."""
        await self._broker.publish(demand_of(wanted), topic=self._demands, key=wanted.item.item_id.encode())

    def value_of(self, item_id: str) -> Decimal:
        """What the item's stock is worth in this book: the sum of all postings whose value is known."""
        return sum(
            (posting.value for posting in self.postings.values() if posting.item_id == item_id and posting.value),
            Decimal(0),
        )

    async def _book(self, message: KafkaMessage) -> None:
        posting = CostPosted.read(message.body)
        self.heard[posting.posting_id] += 1
        if posting.posting_id not in self.documents:
            self.documents[posting.posting_id] = f"49{len(self.documents) + 1:08}"
            self.postings[posting.posting_id] = posting
        await self._broker.publish(
            {
                "posting_id": str(posting.posting_id),
                "accepted": True,
                "erp_document": self.documents[posting.posting_id],
                "erp_year": dt.datetime.now(dt.UTC).year,
            },
            topic=self._acknowledgements,
            key=str(posting.posting_id).encode(),
        )


def demand_of(wanted: Wanted) -> dict[str, Any]:
    """A demand in the ERP's words, in the unit that the order was taken in."""
    body = {
        "reference": wanted.reference,
        "customer_id": wanted.customer_id,
        "site_id": wanted.site_id,
        "item_id": wanted.item.item_id,
        "quantity": str(wanted.quantity),
        "unit": wanted.unit,
        "needed_on": wanted.needed_on.isoformat(),
        "strategy": wanted.strategy,
    }
    return body | ({"batch_no": wanted.batch_no} if wanted.batch_no else {})
