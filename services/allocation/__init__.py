"""Allocation decides which batch leaves for whom, and says why."""
