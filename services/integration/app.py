"""Integration as a whole: what it hears, does, answers and watches."""

from contracts.topics import TOPICS
from delivery import Service
from services.integration.api import ROUTERS
from services.integration.handlers import acknowledgements, catalog, demands, production, receipts, valuation
from services.integration.rehearing import LEDGER
from services.integration.settings import CompanySettings
from services.integration.survey import SURVEY
from services.integration.watches import OPEN_DIFFERENCES, WATCHES

service = Service(
    name="integration",
    about="Catalog, production reports, demands, what stock is worth, and what the ERP is told of it.",
    package="services.integration",
    topics=TOPICS,
    hears=(
        valuation.value_movements,
        valuation.hear_receipts,
        production.hear_reports,
        demands.hear_demands,
        acknowledgements.hear_acknowledgements,
    ),
    does=(
        catalog.define_items,
        catalog.define_partners,
        catalog.import_items,
        catalog.import_partners,
        receipts.expect_receipts,
        receipts.withdraw_expected,
        production.take_reports,
        demands.raise_demands,
        demands.withdraw_demands,
        acknowledgements.acknowledge,
        valuation.set_costs,
    ),
    rebuilds=(LEDGER,),
    routers=ROUTERS,
    watches=WATCHES,
    settings=(CompanySettings,),
    metrics=(OPEN_DIFFERENCES,),
    survey=SURVEY,
)
