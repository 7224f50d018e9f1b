"""The pure rules of trace: no I/O, no clock, no ids, no framework."""
