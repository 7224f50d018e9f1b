"""What a batch is called before anybody knows its id.

A production report names what it consumed by item and batch number. Reports and registrations arrive in any order, on
different topics, so links of the genealogy are kept between *names*; which batch a name means is decided when somebody
asks. Nothing has to be repaired when a batch is registered later, and two chunks never write the same row.
"""

from uuid import UUID, uuid5

_NAMES = UUID("7d3c1f0e-2f64-5b0b-9a53-3a1c6b7f4e21")


def name_id(item_id: str, batch_no: str) -> UUID:
    """The id of a batch's name: always the same for the same item and number. Stands for a batch not yet registered."""
    return uuid5(_NAMES, f"{item_id}\n{batch_no}")


def item_subject(item_id: str) -> UUID:
    """Under what a timeline keeps what concerns an item, but no batch of it."""
    return uuid5(_NAMES, item_id)


def partner_subject(partner_id: str) -> UUID:
    """Under what a timeline keeps what concerns a supplier or customer."""
    return uuid5(_NAMES, f"\n{partner_id}")
