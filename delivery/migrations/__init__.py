"""The tables of the delivery layer, in every service's database."""
