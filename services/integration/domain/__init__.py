"""The rules of integration: values in, decisions out. No I/O, no clock, no ids."""
