"""What receiving is made of."""

from contracts.topics import TOPICS
from delivery import Service
from services.receiving.api import routers
from services.receiving.corrections import correct_dates
from services.receiving.handlers import define_items, define_partners, define_sites, expect_receipts
from services.receiving.inspections import inspect_batches
from services.receiving.numbers import issue_numbers
from services.receiving.receipts import receive_goods
from services.receiving.rehearing import ANNOUNCEMENTS
from services.receiving.settings import ReceivingSettings
from services.receiving.settlements import settle_conflicts
from services.receiving.survey import SURVEY

service = Service(
    name="receiving",
    about="Expected receipts, what arrived, batch identity and numbering, inspections and quality decisions.",
    package="services.receiving",
    topics=TOPICS,
    hears=(define_items, define_partners, define_sites, expect_receipts),
    does=(receive_goods, settle_conflicts, inspect_batches, correct_dates, issue_numbers),
    rebuilds=(ANNOUNCEMENTS,),
    routers=routers,
    settings=(ReceivingSettings,),
    survey=SURVEY,
)
