"""All SQL of integration that changes state, and the reads that decisions need: one statement per table and chunk."""
