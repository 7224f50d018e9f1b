"""Faults against an oracle: five services under load while everything they stand on is killed, frozen and cut.

`python -m faults` plays a seeded load through the public interfaces, strikes at random, lets the system come to rest by
itself, and then compares what callers were told, what the ledger says, what every other book says, and what is on the
topics. Each difference is one sentence.
"""
