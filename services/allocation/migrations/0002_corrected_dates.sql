-- When a person last corrected the dates of a batch. From then on they are known from corrections alone: a movement that
-- was on its way still says the old ones.
ALTER TABLE batch ADD COLUMN corrected_at timestamptz;
