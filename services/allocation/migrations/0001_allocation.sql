-- Foreign keys between the hot tables are left out on purpose: they cost a look-up a row, and every write of an item's
-- rows happens under that item's lock, in one transaction, from rows that were read in it.

-- What the catalog says, and how far the ledger of the item is known here. `revision` is 0 until the catalog spoke.
CREATE TABLE item (
    item_id         text        PRIMARY KEY,
    base_unit       text,
    expiry_required boolean     NOT NULL DEFAULT true,
    gtins           text[]      NOT NULL DEFAULT '{}',
    revision        integer     NOT NULL DEFAULT 0 CHECK (revision >= 0),
    sequence        bigint      NOT NULL DEFAULT 0 CHECK (sequence >= 0)
);
CREATE INDEX item_by_gtin ON item USING gin (gtins);

-- What each customer wants left of a batch's life: {rules: [{item_id, min_days, min_percent}]}.
CREATE TABLE customer (
    customer_id      text    PRIMARY KEY,
    name             text    NOT NULL,
    shelf_life_rules jsonb   NOT NULL,
    active           boolean NOT NULL,
    revision         integer NOT NULL CHECK (revision >= 1)
);

-- What the last movement said of each batch. `received_on` is never absent: the day of the first movement stands in.
CREATE TABLE batch (
    batch_id        uuid PRIMARY KEY,
    item_id         text NOT NULL,
    batch_no        text NOT NULL COLLATE "C",
    manufactured_on date,
    expires_on      date,
    received_on     date NOT NULL
);
CREATE INDEX batch_by_no ON batch (item_id, batch_no);

-- Open and lifted holds, inventory's and (kind recall, at once) trace's.
CREATE TABLE hold (
    hold_id     uuid        NOT NULL,
    batch_id    uuid        NOT NULL,
    item_id     text        NOT NULL,
    kind        text        NOT NULL,
    site_id     text,
    location_id text,
    reason      text        NOT NULL,
    placed_at   timestamptz NOT NULL,
    lifted_at   timestamptz,
    PRIMARY KEY (batch_id, hold_id)
);
CREATE INDEX hold_open ON hold (batch_id) WHERE lifted_at IS NULL;

-- Stock that no promise has. What is on a spot = free + the open reservations there; neither sum is stored, so nothing
-- can drift (docs/decisions/0008-free-stock-is-the-one-number.md). `held` is recomputed from `hold`, never counted.
-- Four columns are made by the database so that indexes hold only rows worth walking, and so that taking a part of a
-- row touches no index at all.
CREATE TABLE shelf (
    item_id         text    NOT NULL,
    batch_id        uuid    NOT NULL,
    site_id         text    NOT NULL COLLATE "C",
    location_id     text    NOT NULL COLLATE "C",
    quality         text    NOT NULL COLLATE "C",
    purpose         text    NOT NULL,
    free            numeric NOT NULL CHECK (free >= 0),
    held            boolean NOT NULL,
    batch_no        text    NOT NULL COLLATE "C",
    manufactured_on date,
    expires_on      date,
    received_on     date    NOT NULL,
    use_by          date    NOT NULL GENERATED ALWAYS AS (coalesce(expires_on, 'infinity'::date)) STORED,
    offered         boolean NOT NULL GENERATED ALWAYS AS
                    (free > 0 AND NOT held AND quality = 'released' AND purpose IN ('receiving', 'storage')) STORED,
    withheld        boolean NOT NULL GENERATED ALWAYS AS
                    (free > 0 AND (held OR quality <> 'released' OR purpose NOT IN ('receiving', 'storage'))) STORED,
    all_promised    boolean NOT NULL GENERATED ALWAYS AS
                    (free = 0 AND quality = 'released' AND purpose IN ('receiving', 'storage')) STORED,
    PRIMARY KEY (batch_id, site_id, location_id, quality)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);
CREATE INDEX shelf_fefo ON shelf (item_id, site_id, use_by, received_on, batch_no, batch_id, location_id) WHERE offered;
CREATE INDEX shelf_fifo ON shelf (item_id, site_id, received_on, use_by, batch_no, batch_id, location_id) WHERE offered;
CREATE INDEX shelf_lifo ON shelf (item_id, site_id, received_on DESC, use_by, batch_no, batch_id, location_id)
    WHERE offered;
CREATE INDEX shelf_withheld ON shelf (item_id, site_id, use_by, received_on, batch_no) WHERE withheld;
CREATE INDEX shelf_all_promised ON shelf (item_id, site_id, use_by, received_on, batch_no) WHERE all_promised;

-- What somebody wants out. `missing` is what no promise covers and nothing was shipped for: a promise takes the same
-- quantity from `shelf.free` and from here, and gives it back to both.
CREATE TABLE demand (
    demand_id        uuid        PRIMARY KEY,
    reference        text        NOT NULL,
    customer_id      text        NOT NULL,
    site_id          text        NOT NULL,
    item_id          text        NOT NULL,
    unit             text        NOT NULL,
    quantity         numeric     NOT NULL CHECK (quantity > 0),
    missing          numeric     NOT NULL CHECK (missing BETWEEN 0 AND quantity),
    needed_on        date        NOT NULL,
    strategy         text        NOT NULL,
    batch_no         text,
    min_days_left    integer     CHECK (min_days_left >= 0),
    min_percent_left integer     CHECK (min_percent_left BETWEEN 0 AND 100),
    raised_at        timestamptz NOT NULL,
    cancelled_at     timestamptz,
    cancelled_why    text,
    CHECK ((cancelled_at IS NULL) = (cancelled_why IS NULL))
) WITH (fillfactor = 90);
CREATE INDEX demand_waiting ON demand (item_id, site_id, raised_at, demand_id)
    WHERE missing > 0 AND cancelled_at IS NULL;
CREATE INDEX demand_of_item ON demand (item_id, demand_id);
CREATE INDEX demand_of_customer ON demand (customer_id, demand_id);
CREATE INDEX demand_by_reference ON demand (reference);

-- How each promise was decided, so that it can be decided again: what was asked, what was seen, what came out.
-- `inputs` and `outcome` are JSON as it was written (`domain/record.py`), read whole and by id only, so they are text:
-- nobody searches in them, and taking them apart at every write would be a fifth of a promise's cost.
CREATE TABLE plan (
    plan_id            uuid        PRIMARY KEY,
    demand_id          uuid        NOT NULL,
    item_id            text        NOT NULL,
    inventory_sequence bigint      NOT NULL CHECK (inventory_sequence >= 0),
    policy             text        NOT NULL,
    decided_at         timestamptz NOT NULL,
    inputs             text        NOT NULL,
    outcome            text        NOT NULL
);
CREATE INDEX plan_of_demand ON plan (demand_id, plan_id);
REVOKE UPDATE, DELETE ON plan FROM batchwise_allocation;

-- A promise and its pick are one row: the pick's id is the reservation's.
CREATE TABLE reservation (
    reservation_id uuid        PRIMARY KEY,
    demand_id      uuid        NOT NULL,
    plan_id        uuid        NOT NULL,
    item_id        text        NOT NULL,
    batch_id       uuid        NOT NULL,
    site_id        text        NOT NULL COLLATE "C",
    location_id    text        NOT NULL COLLATE "C",
    quality        text        NOT NULL COLLATE "C",
    quantity       numeric     NOT NULL CHECK (quantity > 0),
    status         text        NOT NULL DEFAULT 'promised'
                   CHECK (status IN ('promised', 'picked', 'dispatching', 'stopped', 'shipped', 'revoked', 'freed')),
    promised_at    timestamptz NOT NULL,
    staged_at      text,
    picked_at      timestamptz,
    picked_by      text,
    shipment_id    uuid,
    line_id        uuid,
    code           text,
    reason         text,
    changed_at     timestamptz NOT NULL,
    CHECK ((picked_at IS NULL) = (staged_at IS NULL)),
    CHECK ((shipment_id IS NULL) = (line_id IS NULL)),
    CHECK (status <> 'promised' OR (picked_at IS NULL AND shipment_id IS NULL)),
    CHECK (status NOT IN ('picked', 'stopped') OR picked_at IS NOT NULL),
    CHECK (status NOT IN ('dispatching', 'shipped') OR (picked_at IS NOT NULL AND line_id IS NOT NULL))
) WITH (fillfactor = 80);
CREATE INDEX reservation_on_batch ON reservation (batch_id)
    WHERE status IN ('promised', 'picked', 'dispatching', 'stopped');
CREATE INDEX reservation_of_demand ON reservation (demand_id, reservation_id);
CREATE INDEX reservation_to_pick ON reservation (site_id, location_id, reservation_id) WHERE status = 'promised';
CREATE INDEX reservation_picked ON reservation (demand_id) WHERE status = 'picked' AND shipment_id IS NULL;
CREATE INDEX reservation_of_line ON reservation (line_id) WHERE line_id IS NOT NULL;
CREATE INDEX reservation_of_shipment ON reservation (shipment_id) WHERE shipment_id IS NOT NULL;

-- What leaves together. Its lines are the reservations that name it.
CREATE TABLE shipment (
    shipment_id   uuid        PRIMARY KEY,
    customer_id   text        NOT NULL,
    site_id       text        NOT NULL,
    carrier       text,
    created_at    timestamptz NOT NULL,
    created_by    text        NOT NULL,
    dispatched_at timestamptz,
    dispatched_by text,
    CHECK ((dispatched_at IS NULL) = (dispatched_by IS NULL))
);
CREATE INDEX shipment_of_customer ON shipment (customer_id, shipment_id);

-- Scans that were refused: who, what, why. Nothing moved.
CREATE TABLE refused_scan (
    refusal_id uuid        PRIMARY KEY,
    pick_id    uuid        NOT NULL,
    scanned    text        NOT NULL,
    verdict    text        NOT NULL,
    reason     text        NOT NULL,
    refused_at timestamptz NOT NULL,
    refused_by text        NOT NULL
);
CREATE INDEX refused_scan_of_pick ON refused_scan (pick_id, refusal_id);
REVOKE UPDATE, DELETE ON refused_scan FROM batchwise_allocation;
