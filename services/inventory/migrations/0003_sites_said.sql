-- What was last said of each site, and as which revision. Sites that were there before are said by the watch.
ALTER TABLE site
    ADD COLUMN revision integer NOT NULL DEFAULT 0 CHECK (revision >= 0),
    ADD COLUMN said     jsonb;
