"""The tables of trace, forward only."""
