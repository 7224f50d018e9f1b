"""The tables of inventory, forward only."""
