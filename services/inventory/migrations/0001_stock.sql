-- The building: sites with their time zone, zones with a purpose and a climate, bins.

CREATE TABLE site (
    site_id   text PRIMARY KEY,
    name      text NOT NULL,
    time_zone text NOT NULL,
    set_up    boolean NOT NULL DEFAULT true  -- false: opened by goods that arrived, nobody described it yet
);

CREATE TABLE zone (
    site_id text NOT NULL REFERENCES site,
    zone_id text NOT NULL,
    name    text NOT NULL,
    purpose text NOT NULL CHECK (purpose IN ('receiving', 'storage', 'quarantine', 'rejected', 'staging')),
    climate text NOT NULL CHECK (climate IN ('ambient', 'cool', 'cold', 'frozen')),
    PRIMARY KEY (site_id, zone_id)
);

CREATE TABLE location (
    site_id     text    NOT NULL,
    location_id text    NOT NULL,
    zone_id     text    NOT NULL,
    capacity    numeric CHECK (capacity > 0),  -- base units of whatever stands there; null: no limit
    single_item boolean NOT NULL DEFAULT false,
    set_up      boolean NOT NULL DEFAULT true,
    PRIMARY KEY (site_id, location_id),
    FOREIGN KEY (site_id, zone_id) REFERENCES zone
);
CREATE INDEX location_of_zone ON location (site_id, zone_id);

-- What others said of items and batches, as far as stock needs it.

CREATE TABLE item (
    item_id          text    PRIMARY KEY,
    name             text    NOT NULL,
    base_unit        text    NOT NULL,
    climate          text    NOT NULL,
    near_expiry_days integer,
    gtins            text[]  NOT NULL,
    revision         integer NOT NULL
);

CREATE TABLE batch (
    batch_id          uuid PRIMARY KEY,
    item_id           text NOT NULL,
    unit              text NOT NULL,
    batch_no          text NOT NULL,
    origin            text NOT NULL,
    supplier_id       text,
    supplier_batch_no text,
    manufactured_on   date,
    expires_on        date,
    expiry_precision  text,
    expiry_source     text,
    best_before       date,
    received_on       date
);
CREATE INDEX batch_by_no ON batch (item_id, batch_no);
CREATE INDEX batch_by_no_alone ON batch (batch_no);
CREATE INDEX batch_by_supplier_no ON batch (item_id, supplier_batch_no) WHERE supplier_batch_no IS NOT NULL;

-- The ledger. Append-only and double-entry: each line leaves one place and status and arrives in another. Partitioned
-- by the time it was recorded, so that closed years can be archived whole. A line of a year without a partition goes to
-- movement_later: add partitions before that year begins.

CREATE TABLE movement (
    movement_id      uuid        NOT NULL,
    item_id          text        NOT NULL,
    sequence         bigint      NOT NULL CHECK (sequence > 0),
    batch_id         uuid        NOT NULL,
    quantity         numeric     NOT NULL CHECK (quantity > 0),
    unit             text        NOT NULL,
    from_kind        text        NOT NULL,
    from_site_id     text,
    from_location_id text,
    from_quality     text CHECK (from_quality IN ('pending', 'released', 'rejected')),
    from_partner_id  text,
    to_kind          text        NOT NULL,
    to_site_id       text,
    to_location_id   text,
    to_quality       text CHECK (to_quality IN ('pending', 'released', 'rejected')),
    to_partner_id    text,
    reason           text        NOT NULL,
    reason_text      text,
    reference        text,
    actor            text        NOT NULL,
    effective_at     timestamptz NOT NULL,
    recorded_at      timestamptz NOT NULL,
    reverses         uuid,
    PRIMARY KEY (movement_id, recorded_at),
    CHECK (from_kind IN ('location', 'supplier', 'production', 'customer', 'adjustment', 'scrap', 'unknown')),
    CHECK (to_kind   IN ('location', 'supplier', 'production', 'customer', 'adjustment', 'scrap', 'unknown')),
    CHECK (from_kind = 'location' OR to_kind = 'location'),
    CHECK (CASE from_kind WHEN 'location' THEN num_nonnulls(from_site_id, from_location_id, from_quality) = 3
                          ELSE num_nonnulls(from_site_id, from_location_id, from_quality) = 0 END),
    CHECK (CASE to_kind   WHEN 'location' THEN num_nonnulls(to_site_id, to_location_id, to_quality) = 3
                          ELSE num_nonnulls(to_site_id, to_location_id, to_quality) = 0 END),
    CHECK ((from_kind, from_site_id, from_location_id, from_quality) IS DISTINCT FROM
           (to_kind, to_site_id, to_location_id, to_quality)),
    CHECK (from_partner_id IS NULL OR from_kind <> 'location'),
    CHECK (to_partner_id IS NULL OR to_kind <> 'location'),
    CHECK ((reason = 'reversal') = (reverses IS NOT NULL))
) PARTITION BY RANGE (recorded_at);
CREATE UNIQUE INDEX movement_in_order ON movement (item_id, sequence, recorded_at);
CREATE INDEX movement_of_batch ON movement (batch_id, sequence);
CREATE INDEX movement_out_of ON movement (from_site_id, from_location_id) WHERE from_kind = 'location';
CREATE INDEX movement_into   ON movement (to_site_id, to_location_id)     WHERE to_kind = 'location';

DO $$ BEGIN
    FOR year IN 2025..2035 LOOP
        EXECUTE format('CREATE TABLE movement_%s PARTITION OF movement FOR VALUES FROM (%L) TO (%L)',
                       year, make_timestamptz(year, 1, 1, 0, 0, 0, 'UTC'),
                       make_timestamptz(year + 1, 1, 1, 0, 0, 0, 'UTC'));
        EXECUTE format('REVOKE UPDATE, DELETE, TRUNCATE ON movement_%s FROM batchwise_inventory', year);
    END LOOP;
END $$;
CREATE TABLE movement_later PARTITION OF movement DEFAULT;
-- History does not change: not for the service either.
REVOKE UPDATE, DELETE, TRUNCATE ON movement, movement_later FROM batchwise_inventory;

-- One counter per item over movements and holds; it is set by the transaction that holds the item's key.
CREATE TABLE item_sequence (
    item_id text   PRIMARY KEY,
    last    bigint NOT NULL CHECK (last > 0)
);

-- What was booked for a line of business. The same line is booked once, whoever says it how often.
CREATE TABLE booking (
    kind      text        NOT NULL,
    reference text        NOT NULL,
    booked_at timestamptz NOT NULL,
    PRIMARY KEY (kind, reference)
);
REVOKE UPDATE, DELETE, TRUNCATE ON booking FROM batchwise_inventory;

-- The ledger folded. Less than nothing cannot be; what came to nothing is removed in the same transaction.
-- `last_change` lets one INSERT … ON CONFLICT book more and less alike: the row that is proposed must satisfy the CHECK
-- too, so it proposes the change without its sign, and adds the one with it.
CREATE TABLE balance (
    batch_id    uuid    NOT NULL REFERENCES batch,
    site_id     text    NOT NULL,
    location_id text    NOT NULL,
    quality     text    NOT NULL CHECK (quality IN ('pending', 'released', 'rejected')),
    item_id     text    NOT NULL,
    quantity    numeric NOT NULL CHECK (quantity >= 0),
    last_change numeric NOT NULL,
    PRIMARY KEY (batch_id, site_id, location_id, quality),
    FOREIGN KEY (site_id, location_id) REFERENCES location
);
CREATE INDEX balance_of_item     ON balance (item_id, batch_id);
CREATE INDEX balance_of_location ON balance (site_id, location_id);

-- Reasons why stock may not be used now. They stack; stock is free of them when none that covers it is open.
CREATE TABLE hold (
    hold_id         uuid        PRIMARY KEY,
    item_id         text        NOT NULL,
    batch_id        uuid        NOT NULL,  -- may be recalled before it arrives, so it refers to no row
    kind            text        NOT NULL CHECK (kind IN ('recall', 'excursion', 'expiry', 'count', 'manual')),
    site_id         text,
    location_id     text,
    reason          text        NOT NULL,
    reference       text,
    placed_sequence bigint      NOT NULL,
    placed_at       timestamptz NOT NULL,
    placed_by       text        NOT NULL,
    lifted_sequence bigint,
    lifted_at       timestamptz,
    lifted_by       text,
    lifted_why      text,
    CHECK (location_id IS NULL OR site_id IS NOT NULL),
    CHECK (num_nonnulls(lifted_sequence, lifted_at, lifted_by, lifted_why) IN (0, 4)),
    CHECK (lifted_sequence > placed_sequence)
);
CREATE INDEX hold_of_batch ON hold (batch_id, placed_sequence);
CREATE INDEX hold_open ON hold (batch_id) WHERE lifted_at IS NULL;
CREATE INDEX hold_open_of_item ON hold (item_id) WHERE lifted_at IS NULL;
CREATE UNIQUE INDEX hold_one_per_recall ON hold (batch_id, reference) WHERE kind = 'recall' AND lifted_at IS NULL;
CREATE UNIQUE INDEX hold_one_per_expiry ON hold (batch_id, site_id)   WHERE kind = 'expiry' AND lifted_at IS NULL;
CREATE INDEX hold_of_item ON hold (item_id, placed_sequence);

-- What a person counted. A later correction of what happened before the count does not change what stood there.
CREATE TABLE count_result (
    count_id    uuid        PRIMARY KEY,
    batch_id    uuid        NOT NULL,
    site_id     text        NOT NULL,
    location_id text        NOT NULL,
    quality     text        NOT NULL,
    booked      numeric     NOT NULL CHECK (booked >= 0),
    counted     numeric     NOT NULL CHECK (counted >= 0),
    counted_at  timestamptz NOT NULL,
    counted_by  text        NOT NULL,
    reason      text        NOT NULL
);
CREATE INDEX count_of_spot ON count_result (batch_id, site_id, location_id, quality, counted_at);
REVOKE UPDATE, DELETE, TRUNCATE ON count_result FROM batchwise_inventory;

-- Which batches stand at which site and what the expiry watch waits for: first `near_on` (an alert, once), then the
-- midnight that ends `expires_on` (a hold). A batch that has left by then is `gone` until some of it comes back.
CREATE TABLE batch_at_site (
    batch_id   uuid NOT NULL REFERENCES batch,
    site_id    text NOT NULL REFERENCES site,
    item_id    text NOT NULL,
    expires_on date NOT NULL,
    near_on    date,
    state      text NOT NULL CHECK (state IN ('watched', 'near', 'expired', 'gone')),
    PRIMARY KEY (batch_id, site_id)
);
CREATE INDEX batch_at_site_expiring ON batch_at_site (site_id, expires_on) WHERE state IN ('watched', 'near');
CREATE INDEX batch_at_site_nearing  ON batch_at_site (site_id, near_on)    WHERE state = 'watched';
CREATE INDEX batch_at_site_of_item  ON batch_at_site (item_id);

-- The checker: where it stands in its round, and every difference it found between ledger and balances.
CREATE TABLE check_round (
    one            boolean     PRIMARY KEY DEFAULT true CHECK (one),
    after_item_id  text        NOT NULL DEFAULT '',
    rounds         bigint      NOT NULL DEFAULT 0,
    items_checked  bigint      NOT NULL DEFAULT 0,
    last_run_at    timestamptz,
    last_round_at  timestamptz
);
INSERT INTO check_round DEFAULT VALUES;

CREATE TABLE ledger_difference (
    difference_id uuid        PRIMARY KEY,
    item_id       text        NOT NULL,
    batch_id      uuid,
    site_id       text,
    location_id   text,
    quality       text,
    of            text        NOT NULL CHECK (of IN ('balance', 'sequence')),
    ledger        numeric     NOT NULL,
    kept          numeric     NOT NULL,
    found_at      timestamptz NOT NULL,
    settled_at    timestamptz
);
CREATE UNIQUE INDEX difference_open
    ON ledger_difference (item_id, batch_id, site_id, location_id, quality, of) NULLS NOT DISTINCT
    WHERE settled_at IS NULL;
