"""The catalog, heard again."""

from delivery import Derived, Rehear
from services.inventory.handlers import learn_items

CATALOG = Rehear(
    "catalog",
    "integration.catalog.v1",
    tables=(Derived("item", ("item_id",)),),
    hears=(learn_items,),
    # The handler also moves the warnings of the expiry watch: in the copies there is nothing to watch.
    copies=("CREATE TABLE batch_at_site (LIKE public.batch_at_site INCLUDING ALL)",),
)
