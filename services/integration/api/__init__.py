"""The HTTP of integration, one module per subject."""

from services.integration.api.catalog import router as catalog
from services.integration.api.demands import router as demands
from services.integration.api.postings import router as postings
from services.integration.api.production import router as production
from services.integration.api.receipts import router as receipts

ROUTERS = (catalog, receipts, production, demands, postings)
