"""The tables of allocation, forward only."""
