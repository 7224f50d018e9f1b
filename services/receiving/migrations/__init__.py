"""The schema of receiving's database, forward only."""
