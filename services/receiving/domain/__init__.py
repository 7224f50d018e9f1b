"""The rules of receiving: values in, decisions out. No I/O, no clock, no ids, no framework."""
