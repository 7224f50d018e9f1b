"""A little MES: it knows its reports only in its own words, and says them on its own topic."""

import datetime as dt
from types import TracebackType
from typing import Any, Self

from faststream.kafka import KafkaBroker

from contracts.topics import MES_REPORTS
from deploy.local.play.input import Produced

SITE = "SZ1"


class Mes:
    """Publishes production reports. Like many of its kind it may say a thing twice, or in the wrong order."""

    def __init__(self, kafka: str, topic_prefix: str) -> None:
        self._broker = KafkaBroker(kafka, logger=None)
        self._topic = f"{topic_prefix}{MES_REPORTS.name}"

    async def __aenter__(self) -> Self:
        await self._broker.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._broker.stop()

    async def say(self, report: dict[str, Any]) -> None:
        """Publish a report, keyed by its lot, so that what is said of one lot stays in order."""
        await self._broker.publish(report, topic=self._topic, key=report["producedLot"]["lotId"].encode())

    async def stammer(self, text: bytes) -> None:
        """Publish something that is no report."""
        await self._broker.publish(text, topic=self._topic, key=b"no lot")


def report_of(produced: Produced) -> dict[str, Any]:
    """A production report in the words of ISA-95, quantities as decimal text."""
    ended = dt.datetime.combine(produced.made_on, dt.time(14 + produced.sequence), dt.UTC)
    return {
        "source": "MES-SUZHOU",
        "messageId": produced.message_id,
        "operationsResponseId": f"OR-{produced.work_order}-{produced.sequence}",
        "workOrderId": produced.work_order,
        "site": SITE,
        "responseState": "Completed" if produced.final else "Running",
        "final": produced.final,
        "sequence": produced.sequence,
        "actualStart": (ended - dt.timedelta(hours=6)).isoformat(),
        "actualEnd": ended.isoformat(),
        "producedLot": {
            "materialDefinitionId": produced.item.item_id,
            "gtin": produced.item.gtin,
            "lotId": produced.batch_no,
            "quantity": {"value": str(produced.quantity), "uom": produced.unit},
            "status": "PendingQC",
            "disposition": "Restricted",
            "manufacturedOn": produced.made_on.isoformat(),
            "expiresOn": produced.expires_on.isoformat(),
        },
        "conversionCost": {"value": str(produced.conversion_cost), "currency": "CNY"},
        "consumed": [
            {
                "materialDefinitionId": consumed.item.item_id,
                "lotId": consumed.batch_no,
                "quantity": {"value": str(consumed.quantity), "uom": consumed.item.base_unit},
                "use": "Consumed",
                "genealogyMode": "exact",
            }
            for consumed in produced.consumed
        ],
    }
