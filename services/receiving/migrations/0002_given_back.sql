-- Material that production took and did not use: it comes from production, and its batch keeps its own origin.
ALTER TABLE expected_receipt
    ADD COLUMN given_back boolean NOT NULL DEFAULT false;
