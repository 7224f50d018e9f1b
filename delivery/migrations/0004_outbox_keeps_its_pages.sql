-- To give empty pages at the end back to the disk, a vacuum locks out everybody who reads or writes the table, for up to
-- a tenth of a second. The outbox is empty again and again, and is filled again at once: its pages stay its own.
ALTER TABLE delivery.outbox SET (vacuum_truncate = off);
