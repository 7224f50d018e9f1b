"""The rules of allocation, pure: values in, decisions out. No I/O, no clock, no ids of its own."""
