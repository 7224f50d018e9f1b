-- What receiving keeps: its view of the catalog, what is expected, what arrived, who the batches are, what was decided.

-- The catalog as integration last defined it. A lower revision never replaces a higher one.
CREATE TABLE item (
    item_id                text    PRIMARY KEY,
    revision               integer NOT NULL CHECK (revision >= 1),
    name                   text    NOT NULL,
    base_unit              text    NOT NULL,
    shelf_life_days        integer CHECK (shelf_life_days > 0),
    expiry_required        boolean NOT NULL,
    min_days_at_receipt    integer CHECK (min_days_at_receipt >= 0),
    min_percent_at_receipt integer CHECK (min_percent_at_receipt BETWEEN 0 AND 100),
    inspection_required    boolean NOT NULL,
    batch_no_unique_within text    NOT NULL CHECK (batch_no_unique_within IN ('item', 'item_and_supplier')),
    active                 boolean NOT NULL
);

CREATE TABLE item_unit (
    item_id     text   NOT NULL REFERENCES item,
    unit        text   NOT NULL,
    numerator   bigint NOT NULL CHECK (numerator > 0),
    denominator bigint NOT NULL CHECK (denominator > 0),
    PRIMARY KEY (item_id, unit)
);

CREATE TABLE item_gtin (
    gtin    text NOT NULL,
    item_id text NOT NULL REFERENCES item,
    unit    text NOT NULL,
    PRIMARY KEY (gtin, item_id)
);
CREATE INDEX item_gtin_by_item ON item_gtin (item_id);

CREATE TABLE partner (
    partner_id text    PRIMARY KEY,
    revision   integer NOT NULL CHECK (revision >= 1),
    name       text    NOT NULL,
    supplies   boolean NOT NULL,
    active     boolean NOT NULL
);

-- `quantity` is in `unit` as it was announced; `received` is in the item's base unit.
CREATE TABLE expected_receipt (
    expected_receipt_id uuid        PRIMARY KEY,
    origin              text        NOT NULL,
    item_id             text        NOT NULL,
    quantity            numeric     NOT NULL CHECK (quantity > 0),
    unit                text        NOT NULL,
    site_id             text        NOT NULL,
    due_on              date        NOT NULL,
    partner_id          text,
    batch_no            text,
    supplier_batch_no   text,
    manufactured_on     date,
    expires_on          date,
    best_before         date,
    reference           text,
    received            numeric     NOT NULL DEFAULT 0 CHECK (received >= 0),
    status              text        NOT NULL CHECK (status IN ('open', 'partly', 'complete', 'withdrawn')),
    withdrawn_reason    text,
    heard_at            timestamptz NOT NULL,
    CHECK ((status = 'withdrawn') = (withdrawn_reason IS NOT NULL)),
    CHECK (status <> 'open' OR received = 0),
    CHECK (status NOT IN ('partly', 'complete') OR received > 0)
);
CREATE INDEX expected_receipt_open ON expected_receipt (item_id, due_on, expected_receipt_id)
    WHERE status IN ('open', 'partly');
CREATE INDEX expected_receipt_at_site ON expected_receipt (site_id, due_on, expected_receipt_id)
    WHERE status IN ('open', 'partly');
CREATE INDEX expected_receipt_due ON expected_receipt (due_on, expected_receipt_id);

-- The identity of batches. `scope_supplier` is the supplier where the number is unique per item and supplier, else ''.
CREATE TABLE batch (
    batch_id          uuid        PRIMARY KEY,
    item_id           text        NOT NULL,
    batch_no          text        NOT NULL CHECK (length(batch_no) BETWEEN 1 AND 20),
    scope_supplier    text        NOT NULL,
    origin            text        NOT NULL,
    supplier_id       text,
    supplier_batch_no text,
    manufactured_on   date,
    expires_on        date,
    expiry_precision  text,
    expiry_source     text,
    best_before       date,
    received_on       date        NOT NULL,
    registered_at     timestamptz NOT NULL,
    UNIQUE (item_id, batch_no, scope_supplier),
    CHECK (expires_on >= manufactured_on)
);
CREATE INDEX batch_by_supplier_batch ON batch (supplier_batch_no) WHERE supplier_batch_no IS NOT NULL;
CREATE INDEX batch_by_number ON batch (batch_no, batch_id);
CREATE INDEX batch_by_item ON batch (item_id, batch_id);
CREATE INDEX batch_by_supplier ON batch (supplier_id, batch_id);

-- Numbers we made: the last of each series, and every one ever handed out, so that none is handed out twice.
CREATE TABLE batch_no_series (
    item_id text   NOT NULL,
    series  text   NOT NULL,
    last    bigint NOT NULL CHECK (last >= 1),
    PRIMARY KEY (item_id, series)
);

CREATE TABLE issued_batch_no (
    item_id   text        NOT NULL,
    batch_no  text        NOT NULL CHECK (length(batch_no) BETWEEN 1 AND 20),
    issued_at timestamptz NOT NULL,
    issued_by text        NOT NULL,
    PRIMARY KEY (item_id, batch_no)
);

-- Goods arriving: the paper, its lines as they were entered with their first outcome, and what was in fact received.
CREATE TABLE receipt (
    receipt_id  uuid        PRIMARY KEY,
    site_id     text        NOT NULL,
    location_id text        NOT NULL,
    partner_id  text,
    reference   text,
    received_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    entered_by  text        NOT NULL
);
CREATE INDEX receipt_by_day ON receipt (received_at, receipt_id);

CREATE TABLE receipt_line (
    receipt_id uuid    NOT NULL REFERENCES receipt,
    line_no    integer NOT NULL CHECK (line_no >= 1),
    outcome    text    NOT NULL CHECK (outcome IN ('received', 'conflict', 'refused')),
    batch_id   uuid    REFERENCES batch,
    batch_no   text,
    quality    text,
    quantity   numeric CHECK (quantity > 0),
    reasons    jsonb   NOT NULL,
    entered    jsonb   NOT NULL,
    PRIMARY KEY (receipt_id, line_no),
    CHECK (outcome = 'refused' OR (batch_id IS NOT NULL AND quantity IS NOT NULL)),
    CHECK (outcome <> 'refused' OR jsonb_array_length(reasons) > 0)
);

CREATE TABLE received (
    receipt_id          uuid        NOT NULL,
    line_no             integer     NOT NULL,
    batch_id            uuid        NOT NULL REFERENCES batch,
    item_id             text        NOT NULL,
    site_id             text        NOT NULL,
    location_id         text        NOT NULL,
    quantity            numeric     NOT NULL CHECK (quantity > 0),
    unit                text        NOT NULL,
    entered_quantity    numeric     NOT NULL CHECK (entered_quantity > 0),
    entered_unit        text        NOT NULL,
    quality             text        NOT NULL CHECK (quality IN ('pending', 'released')),
    origin              text        NOT NULL,
    partner_id          text,
    expected_receipt_id uuid        REFERENCES expected_receipt,
    reference           text,
    received_at         timestamptz NOT NULL,
    PRIMARY KEY (receipt_id, line_no),
    FOREIGN KEY (receipt_id, line_no) REFERENCES receipt_line
);
CREATE INDEX received_by_batch ON received (batch_id, received_at);

-- What was received as pending at a site, and how much of it inspection has decided. Folded from `received` and
-- `inspection` in the same transaction.
CREATE TABLE pending_stock (
    batch_id uuid        NOT NULL REFERENCES batch,
    site_id  text        NOT NULL,
    received numeric     NOT NULL CHECK (received > 0),
    decided  numeric     NOT NULL CHECK (decided >= 0),
    since    timestamptz NOT NULL,
    PRIMARY KEY (batch_id, site_id),
    CHECK (decided <= received)
);
CREATE INDEX pending_stock_due ON pending_stock (since, batch_id, site_id) WHERE decided < received;

CREATE TABLE inspection (
    inspection_id uuid        PRIMARY KEY,
    batch_id      uuid        NOT NULL REFERENCES batch,
    item_id       text        NOT NULL,
    site_id       text        NOT NULL,
    released      numeric     NOT NULL CHECK (released >= 0),
    rejected      numeric     NOT NULL CHECK (rejected >= 0),
    unit          text        NOT NULL,
    reason        text,
    certificate   text,
    signer        text        NOT NULL,
    signer_name   text        NOT NULL,
    meaning       text        NOT NULL,
    signed_at     timestamptz NOT NULL,
    record_hash   text        NOT NULL CHECK (record_hash ~ '^[0-9a-f]{64}$'),
    CHECK (released + rejected > 0),
    CHECK (rejected = 0 OR reason IS NOT NULL)
);
CREATE INDEX inspection_by_batch ON inspection (batch_id, signed_at);

-- A label whose batch number is known with other facts. It waits for a person.
CREATE TABLE conflict (
    conflict_id uuid        PRIMARY KEY,
    receipt_id  uuid        NOT NULL,
    line_no     integer     NOT NULL,
    item_id     text        NOT NULL,
    batch_id    uuid        NOT NULL REFERENCES batch,
    existing    jsonb       NOT NULL,
    claimed     jsonb       NOT NULL,
    differs     text[]      NOT NULL CHECK (cardinality(differs) >= 1),
    arrival     jsonb       NOT NULL,
    site_id     text        NOT NULL,
    found_at    timestamptz NOT NULL,
    decision    text        CHECK (decision IN ('keep_existing', 'correct_existing', 'register_apart', 'refuse_receipt')),
    reason      text,
    settled_at  timestamptz,
    settled_by  text,
    received_as uuid        REFERENCES batch,
    UNIQUE (receipt_id, line_no),
    FOREIGN KEY (receipt_id, line_no) REFERENCES receipt_line,
    CHECK (num_nulls(decision, reason, settled_at, settled_by) IN (0, 4)),
    CHECK (received_as IS NULL OR decision <> 'refuse_receipt')
);
CREATE INDEX conflict_open ON conflict (found_at, conflict_id) WHERE decision IS NULL;
CREATE INDEX conflict_by_batch ON conflict (batch_id);
CREATE INDEX conflict_by_received_as ON conflict (received_as) WHERE received_as IS NOT NULL;

-- Who decided what about a batch, when and why, with the facts before and after (21 CFR 11.10(e)).
CREATE TABLE decision (
    decision_id uuid        PRIMARY KEY,
    batch_id    uuid        NOT NULL REFERENCES batch,
    kind        text        NOT NULL CHECK (kind IN ('registered', 'facts_corrected', 'conflict_settled',
                                                     'short_life_accepted', 'inspected')),
    decided_by  text        NOT NULL,
    name        text        NOT NULL,
    decided_at  timestamptz NOT NULL,
    reason      text,
    before      jsonb,
    after       jsonb,
    CHECK (kind = 'registered' OR kind = 'inspected' OR reason IS NOT NULL)
);
CREATE INDEX decision_by_batch ON decision (batch_id, decided_at, decision_id);

-- What happened is never rewritten, not even by a bug of ours.
REVOKE UPDATE, DELETE ON receipt, receipt_line, received, inspection, decision, issued_batch_no FROM batchwise_receiving;
REVOKE DELETE ON batch, conflict, expected_receipt, pending_stock FROM batchwise_receiving;
