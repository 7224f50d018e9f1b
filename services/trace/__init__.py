"""Trace: where every batch came from, where it went, and recalls that account for every unit of it."""
