"""Every topic of the system, by its owner."""

from contracts import allocation, integration, inventory, receiving, trace
from contracts.event import Event, Topic

CATALOG = Topic(
    "integration.catalog.v1",
    "Items and partners as they are now; the last word on each key counts.",
    (integration.ItemDefined, integration.PartnerDefined),
    compacted=True,
)
RECEIPTS = Topic(
    "integration.receipts.v1",
    "What the ERP and the MES announce: goods to come, batches produced, material consumed.",
    (
        integration.ReceiptExpected,
        integration.ExpectedReceiptWithdrawn,
        integration.BatchProduced,
        integration.MaterialConsumed,
    ),
)
DEMANDS = Topic(
    "integration.demands.v1", "What is wanted out.", (integration.DemandRaised, integration.DemandWithdrawn)
)
POSTINGS = Topic("integration.erp-postings.v1", "Cost facts for the ERP, each once.", (integration.CostPosted,))
BATCHES = Topic(
    "receiving.batches.v1",
    "Batches: registered, received, inspected, and what a person had to settle.",
    (
        receiving.BatchRegistered,
        receiving.BatchDatesCorrected,
        receiving.BatchReceived,
        receiving.BatchInspected,
        receiving.ReceiptConflictFound,
        receiving.ReceiptConflictSettled,
    ),
)
STOCK = Topic(
    "inventory.stock.v1",
    "The ledger as it grows, and the holds on it.",
    (inventory.StockMoved, inventory.HoldPlaced, inventory.HoldLifted, inventory.IssueRefused),
)
SITES = Topic(
    "inventory.sites.v1",
    "Sites as they are now; the last word on each key counts.",
    (inventory.SiteDefined,),
    compacted=True,
)
ALERTS = Topic("inventory.alerts.v1", "What a person should look at.", (inventory.StockAlertRaised,))
OUTBOUND = Topic(
    "allocation.outbound.v1",
    "Promises, picks and shipments.",
    (
        allocation.DemandAllocated,
        allocation.DemandShort,
        allocation.AllocationRevoked,
        allocation.DemandCancelled,
        allocation.PickConfirmed,
        allocation.PickRefused,
        allocation.ShipmentDispatched,
    ),
)
RECALLS = Topic(
    "trace.recalls.v1",
    "Recalls, batch by batch.",
    (trace.RecallOpened, trace.BatchRecalled, trace.BatchRecallLifted, trace.RecallClosed),
)

MES_REPORTS = Topic("mes.production-reports.v1", "Production reports, in the MES's own words.", (), foreign=True)
ERP_DEMANDS = Topic("erp.demands.v1", "Demands, in the ERP's own words.", (), foreign=True)
ERP_ACKNOWLEDGEMENTS = Topic("erp.acknowledgements.v1", "What the ERP did with a posting.", (), foreign=True)

TOPICS: tuple[Topic, ...] = (
    CATALOG, RECEIPTS, DEMANDS, POSTINGS, BATCHES, SITES, STOCK, ALERTS, OUTBOUND, RECALLS,
    MES_REPORTS, ERP_DEMANDS, ERP_ACKNOWLEDGEMENTS,
)  # fmt: skip

EVENTS: dict[str, type[Event]] = {event.event_type: event for topic in TOPICS for event in topic.events}
"""Every event of the system by its CloudEvents type."""
