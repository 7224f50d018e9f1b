"""The tables of integration, forward only."""
