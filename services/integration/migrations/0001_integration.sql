-- What integration keeps: the catalog, messages from outside, what is expected and wanted, and what stock is worth.

-- ── Catalog ──────────────────────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE item (
    item_id    text        PRIMARY KEY,
    revision   integer     NOT NULL CHECK (revision >= 1),
    base_unit  text        NOT NULL,
    active     boolean     NOT NULL,
    definition jsonb       NOT NULL,
    defined_at timestamptz NOT NULL
);

-- A GTIN names one item in one unit.
CREATE TABLE item_gtin (
    gtin    text PRIMARY KEY CHECK (gtin ~ '^[0-9]{14}$'),
    item_id text NOT NULL REFERENCES item,
    unit    text NOT NULL
);
CREATE INDEX item_gtin_of_item ON item_gtin (item_id);

CREATE TABLE partner (
    partner_id text        PRIMARY KEY,
    revision   integer     NOT NULL CHECK (revision >= 1),
    active     boolean     NOT NULL,
    definition jsonb       NOT NULL,
    defined_at timestamptz NOT NULL
);

-- ── Messages from outside ────────────────────────────────────────────────────────────────────────────────────────────

-- Each message as it came, once. `digest` is the SHA-256 of its JSON with sorted names and no blanks.
CREATE TABLE raw_message (
    message_uid uuid        PRIMARY KEY,
    kind        text        NOT NULL CHECK (kind IN ('production_report', 'demand')),
    source      text        NOT NULL,
    message_id  text        NOT NULL,
    digest      bytea       NOT NULL CHECK (length(digest) = 32),
    body        text        NOT NULL,
    via         text        NOT NULL,
    received_at timestamptz NOT NULL,
    UNIQUE (kind, source, message_id)
);
REVOKE UPDATE, DELETE ON raw_message FROM batchwise_integration;

-- ── Production ───────────────────────────────────────────────────────────────────────────────────────────────────────

-- A lot number belongs to one item at its MES, and an item's lot to one MES.
CREATE TABLE production_lot (
    source           text NOT NULL,
    batch_no         text NOT NULL,
    item_id          text NOT NULL,
    cost_numerator   numeric CHECK (cost_numerator >= 0),
    cost_denominator numeric CHECK (cost_denominator > 0),
    PRIMARY KEY (source, batch_no),
    UNIQUE (item_id, batch_no),
    CHECK ((cost_numerator IS NULL) = (cost_denominator IS NULL))
);

CREATE TABLE production_report (
    report_id           uuid        PRIMARY KEY REFERENCES raw_message,
    source              text        NOT NULL,
    message_id          text        NOT NULL,
    batch_no            text        NOT NULL,
    item_id             text        NOT NULL,
    work_order          text        NOT NULL,
    sequence            integer     NOT NULL CHECK (sequence >= 1),
    final               boolean     NOT NULL,
    quantity            numeric     NOT NULL CHECK (quantity >= 0),
    conversion          numeric     CHECK (conversion >= 0),
    status              text        NOT NULL CHECK (status IN ('taken', 'waiting', 'replaced', 'outlived')),
    corrects            uuid        REFERENCES production_report,
    expected_receipt_id uuid,
    arrived_before      numeric     NOT NULL DEFAULT 0 CHECK (arrived_before >= 0),
    settled_at          timestamptz,
    UNIQUE (source, message_id),
    FOREIGN KEY (source, batch_no) REFERENCES production_lot,
    CHECK ((status = 'taken') <= (settled_at IS NOT NULL))
);
CREATE INDEX production_report_of_lot ON production_report (source, batch_no, sequence);
CREATE INDEX production_report_of_order ON production_report (work_order, report_id);
CREATE INDEX production_report_waiting ON production_report (report_id) WHERE status = 'waiting';
-- One report stands for each number of a lot.
CREATE UNIQUE INDEX production_report_taken ON production_report (source, batch_no, sequence) WHERE status = 'taken';

-- What a report says was consumed, in base units: one line for each batch.
CREATE TABLE reported_material (
    report_id uuid    NOT NULL REFERENCES production_report,
    item_id   text    NOT NULL,
    batch_no  text    NOT NULL,
    quantity  numeric NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (report_id, item_id, batch_no)
);

-- What inventory was told to issue to production.
CREATE TABLE consumption (
    consumption_id uuid    PRIMARY KEY,
    report_id      uuid    NOT NULL REFERENCES production_report,
    into_item_id   text    NOT NULL,
    into_batch_no  text    NOT NULL,
    item_id        text    NOT NULL,
    batch_no       text    NOT NULL,
    quantity       numeric NOT NULL CHECK (quantity > 0),
    UNIQUE (report_id, item_id, batch_no)
);
CREATE INDEX consumption_of_lot ON consumption (into_item_id, into_batch_no);

-- What the ledger booked of it; a reversal is a row with a negative quantity.
CREATE TABLE booked_consumption (
    movement_id    uuid    PRIMARY KEY,
    consumption_id uuid    NOT NULL REFERENCES consumption,
    quantity       numeric NOT NULL CHECK (quantity <> 0),
    value          numeric
);
CREATE INDEX booked_consumption_of ON booked_consumption (consumption_id);

-- ── What is expected, what is wanted ─────────────────────────────────────────────────────────────────────────────────

CREATE TABLE expected_receipt (
    expected_receipt_id uuid        PRIMARY KEY,
    origin              text        NOT NULL CHECK (origin IN ('supplier', 'production', 'customer')),
    item_id             text        NOT NULL,
    quantity            numeric     NOT NULL CHECK (quantity > 0),
    unit                text        NOT NULL,
    entered_quantity    numeric     NOT NULL CHECK (entered_quantity > 0),
    entered_unit        text        NOT NULL,
    site_id             text        NOT NULL,
    due_on              date        NOT NULL,
    partner_id          text,
    batch_no            text,
    supplier_batch_no   text,
    manufactured_on     date,
    expires_on          date,
    best_before         date,
    reference           text,
    report_id           uuid        REFERENCES production_report,
    -- Where the cost of what arrives comes from; a given cost is per entered unit, and one of those is
    -- unit_numerator / unit_denominator base units.
    cost_basis          text        NOT NULL CHECK (cost_basis IN ('given', 'production', 'own', 'unknown')),
    unit_cost           numeric     CHECK (unit_cost >= 0),
    unit_numerator      numeric     NOT NULL CHECK (unit_numerator > 0),
    unit_denominator    numeric     NOT NULL CHECK (unit_denominator > 0),
    currency            text,
    expected_at         timestamptz NOT NULL,
    withdrawn_at        timestamptz,
    withdrawn_why       text,
    CHECK ((cost_basis = 'given') = (unit_cost IS NOT NULL)),
    CHECK ((unit_cost IS NULL) = (currency IS NULL)),
    CHECK ((withdrawn_at IS NULL) = (withdrawn_why IS NULL))
);
CREATE INDEX expected_receipt_of_item ON expected_receipt (item_id, expected_receipt_id);

-- What arrived, as receiving says it; `reference` is what the ledger's receipt movement names.
CREATE TABLE receipt_line (
    reference           text    PRIMARY KEY,
    item_id             text    NOT NULL,
    batch_id            uuid    NOT NULL,
    batch_no            text    NOT NULL,
    quantity            numeric NOT NULL CHECK (quantity > 0),
    origin              text    NOT NULL,
    expected_receipt_id uuid
);
CREATE INDEX receipt_line_of_expected ON receipt_line (expected_receipt_id);
CREATE INDEX receipt_line_of_batch ON receipt_line (batch_id);

CREATE TABLE demand (
    demand_id        uuid        PRIMARY KEY,
    message_uid      uuid        NOT NULL REFERENCES raw_message,
    reference        text        NOT NULL UNIQUE,
    customer_id      text        NOT NULL,
    site_id          text        NOT NULL,
    item_id          text        NOT NULL,
    quantity         numeric     NOT NULL CHECK (quantity > 0),
    unit             text        NOT NULL,
    entered_quantity numeric     NOT NULL CHECK (entered_quantity > 0),
    entered_unit     text        NOT NULL,
    needed_on        date        NOT NULL,
    strategy         text        NOT NULL,
    batch_no         text,
    min_days_left    integer,
    min_percent_left integer,
    raised_at        timestamptz NOT NULL,
    withdrawn_at     timestamptz,
    withdrawn_why    text,
    CHECK ((strategy = 'specified') = (batch_no IS NOT NULL)),
    CHECK ((withdrawn_at IS NULL) = (withdrawn_why IS NULL))
);
CREATE INDEX demand_of_item ON demand (item_id, demand_id);

-- ── Value ────────────────────────────────────────────────────────────────────────────────────────────────────────────

-- The ledger as heard: one running sum for each batch, made by SQL from the movements and by nothing else.
CREATE TABLE ledger_batch (
    batch_id uuid    PRIMARY KEY,
    item_id  text    NOT NULL,
    batch_no text    NOT NULL,
    unit     text    NOT NULL,
    quantity numeric NOT NULL,
    sequence bigint  NOT NULL
);
CREATE INDEX ledger_batch_of_item ON ledger_batch (item_id, batch_id);

-- What each batch is worth. While its cost is unknown, `value` is what was posted before that.
CREATE TABLE batch_value (
    batch_id              uuid    PRIMARY KEY,
    item_id               text    NOT NULL,
    batch_no              text    NOT NULL,
    unit                  text    NOT NULL,
    quantity              numeric NOT NULL CHECK (quantity >= 0),
    value                 numeric NOT NULL CHECK (value >= 0),
    unknown               boolean NOT NULL,
    unit_cost_numerator   numeric CHECK (unit_cost_numerator >= 0),
    unit_cost_denominator numeric CHECK (unit_cost_denominator > 0),
    CHECK (unknown OR quantity > 0 OR value = 0),
    CHECK ((unit_cost_numerator IS NULL) = (unit_cost_denominator IS NULL))
);
CREATE INDEX batch_value_of_item ON batch_value (item_id, batch_id);

-- One cost fact each, posted once and never edited.
CREATE TABLE posting (
    posting_id        uuid        PRIMARY KEY,
    number            bigint      GENERATED ALWAYS AS IDENTITY UNIQUE,
    kind              text        NOT NULL CHECK (kind IN ('receipt', 'production', 'issue', 'consumption', 'adjustment',
                                                           'return', 'scrap', 'revaluation', 'reversal')),
    item_id           text        NOT NULL,
    batch_id          uuid        NOT NULL,
    batch_no          text        NOT NULL,
    quantity          numeric     NOT NULL,
    unit              text        NOT NULL,
    unit_cost         numeric,
    value             numeric,
    currency          text        NOT NULL,
    movement_id       uuid,
    movement_sequence bigint,
    posting_date      date        NOT NULL,
    reference         text,
    partner_id        text,
    reverses          uuid,
    posted_at         timestamptz NOT NULL,
    CHECK ((kind = 'revaluation') = (quantity = 0)),
    CHECK (kind <> 'revaluation' OR value IS NOT NULL),
    CHECK (kind = 'revaluation' OR movement_id IS NOT NULL)
);
CREATE UNIQUE INDEX posting_of_movement ON posting (movement_id) WHERE kind <> 'revaluation';
CREATE UNIQUE INDEX posting_learnt ON posting (movement_id) WHERE kind = 'revaluation';
CREATE INDEX posting_of_batch ON posting (batch_id, number);
CREATE INDEX posting_of_item ON posting (item_id, number);
REVOKE UPDATE, DELETE ON posting FROM batchwise_integration;

-- Postings that the ERP has not answered yet: few, however long the history is.
CREATE TABLE unanswered_posting (
    number     bigint PRIMARY KEY REFERENCES posting (number),
    posting_id uuid   NOT NULL UNIQUE,
    item_id    text   NOT NULL
);
CREATE INDEX unanswered_posting_of_item ON unanswered_posting (item_id, number);

-- Movements whose posting has no value yet, in the ledger's order; taken away when the value is posted.
CREATE TABLE unvalued_movement (
    movement_id uuid    PRIMARY KEY,
    batch_id    uuid    NOT NULL REFERENCES batch_value,
    sequence    bigint  NOT NULL,
    quantity    numeric NOT NULL CHECK (quantity <> 0),
    kind        text    NOT NULL,
    reference   text,
    reverses    uuid
);
CREATE INDEX unvalued_movement_of_batch ON unvalued_movement (batch_id, sequence);
CREATE INDEX unvalued_movement_reference ON unvalued_movement (reference);

-- What came in at a cost of its own, once that cost is known.
CREATE TABLE cost_layer (
    movement_id uuid        PRIMARY KEY,
    batch_id    uuid        NOT NULL,
    sequence    bigint      NOT NULL,
    quantity    numeric     NOT NULL CHECK (quantity > 0),
    value       numeric     NOT NULL CHECK (value >= 0),
    source      text        NOT NULL CHECK (source IN ('expected_receipt', 'production', 'person')),
    learnt_at   timestamptz NOT NULL
);
CREATE INDEX cost_layer_of_batch ON cost_layer (batch_id, sequence);
REVOKE UPDATE, DELETE ON cost_layer FROM batchwise_integration;

-- Costs that a person gave, with the reason.
CREATE TABLE given_cost (
    given_cost_id uuid        PRIMARY KEY,
    batch_id      uuid        NOT NULL,
    unit_cost     numeric     NOT NULL CHECK (unit_cost >= 0),
    currency      text        NOT NULL,
    reason        text        NOT NULL,
    given_by      text        NOT NULL,
    given_at      timestamptz NOT NULL
);
CREATE INDEX given_cost_of_batch ON given_cost (batch_id, given_at);
REVOKE UPDATE, DELETE ON given_cost FROM batchwise_integration;

-- What the ERP did with a posting. The first answer counts; a later different one is kept for a person.
CREATE TABLE acknowledgement (
    acknowledgement_id uuid        PRIMARY KEY,
    posting_id         uuid        NOT NULL REFERENCES posting,
    accepted           boolean     NOT NULL,
    erp_document       text,
    erp_year           integer,
    code               text,
    text               text,
    counts             boolean     NOT NULL,
    received_at        timestamptz NOT NULL
);
CREATE UNIQUE INDEX acknowledgement_that_counts ON acknowledgement (posting_id) WHERE counts;
CREATE INDEX acknowledgement_of_posting ON acknowledgement (posting_id);
CREATE INDEX acknowledgement_rejected ON acknowledgement (posting_id) WHERE NOT accepted;
CREATE INDEX acknowledgement_contradicting ON acknowledgement (posting_id) WHERE NOT counts;
REVOKE UPDATE, DELETE ON acknowledgement FROM batchwise_integration;

-- When each item's books were last compared, and what did not add up.
CREATE TABLE item_check (
    item_id     text        PRIMARY KEY,
    checked_at  timestamptz NOT NULL,
    holds       boolean     NOT NULL,
    differences jsonb       NOT NULL
);
CREATE INDEX item_check_oldest ON item_check (checked_at);
CREATE INDEX item_check_differs ON item_check (item_id) WHERE NOT holds;
