-- Facts are inserted once and never changed (their rights to be are taken away below); what is folded from them, or
-- replaced by what others say next, may be. Nothing refers to a row that another topic brings: events arrive in any order.

CREATE TABLE item (
    item_id   text    COLLATE "C" PRIMARY KEY,
    name      text    NOT NULL,
    base_unit text    NOT NULL,
    revision  integer NOT NULL CHECK (revision >= 1)
);

CREATE TABLE partner (
    partner_id text    COLLATE "C" PRIMARY KEY,
    name       text    NOT NULL,
    revision   integer NOT NULL CHECK (revision >= 1)
);

-- A batch that somebody spoke of with its facts. `name_id` is the id of (item_id, batch_no): see domain/names.py.
CREATE TABLE batch (
    batch_id          uuid PRIMARY KEY,
    name_id           uuid NOT NULL,
    item_id           text COLLATE "C" NOT NULL,
    batch_no          text COLLATE "C" NOT NULL,
    origin            text NOT NULL,
    supplier_id       text,
    supplier_batch_no text COLLATE "C",
    manufactured_on   date,
    expires_on        date,
    best_before       date,
    received_on       date,
    registered_at     timestamptz
);
CREATE INDEX batch_name ON batch (name_id);
CREATE INDEX batch_item ON batch (item_id, batch_no, batch_id);
CREATE INDEX batch_number ON batch (batch_no);
CREATE INDEX batch_supplier_number ON batch (supplier_batch_no) WHERE supplier_batch_no IS NOT NULL;

-- A production report. One that `corrects` another takes its place, whichever of the two is heard first.
CREATE TABLE report (
    report_id       uuid PRIMARY KEY,
    name_id         uuid NOT NULL,
    item_id         text COLLATE "C" NOT NULL,
    batch_no        text COLLATE "C" NOT NULL,
    quantity        numeric NOT NULL CHECK (quantity > 0),
    unit            text NOT NULL,
    site_id         text NOT NULL,
    work_order      text NOT NULL,
    sequence        integer NOT NULL,
    final           boolean NOT NULL,
    inputs          integer NOT NULL CHECK (inputs >= 0),
    manufactured_on date NOT NULL,
    expires_on      date,
    started_at      timestamptz NOT NULL,
    ended_at        timestamptz NOT NULL,
    corrects        uuid CHECK (corrects <> report_id)
);
CREATE INDEX report_name ON report (name_id);
CREATE INDEX report_number ON report (batch_no, item_id);
CREATE INDEX report_corrects ON report (corrects) WHERE corrects IS NOT NULL;

-- One consumed name of a report: the edges of the genealogy. Times are in order here, whatever a machine's clock said.
CREATE TABLE link (
    report_id         uuid NOT NULL,
    line_no           integer NOT NULL,
    consumed          uuid NOT NULL,
    consumed_item     text COLLATE "C" NOT NULL,
    consumed_batch_no text COLLATE "C" NOT NULL,
    supplier_batch_no text,
    produced          uuid NOT NULL,
    produced_item     text COLLATE "C" NOT NULL,
    produced_batch_no text COLLATE "C" NOT NULL,
    quantity          numeric NOT NULL CHECK (quantity > 0),
    unit              text NOT NULL,
    mode              text NOT NULL,
    work_order        text NOT NULL,
    started_at        timestamptz NOT NULL,
    ended_at          timestamptz NOT NULL CHECK (ended_at >= started_at),
    PRIMARY KEY (report_id, line_no)
);
CREATE INDEX link_consumed ON link (consumed) INCLUDE (produced, report_id);
CREATE INDEX link_produced ON link (produced) INCLUDE (consumed, report_id);
CREATE INDEX link_consumed_number ON link (consumed_batch_no, consumed_item);

CREATE TABLE receipt (
    receipt_id  uuid NOT NULL,
    line_no     integer NOT NULL,
    batch_id    uuid NOT NULL,
    quantity    numeric NOT NULL CHECK (quantity > 0),
    unit        text NOT NULL,
    origin      text NOT NULL,
    partner_id  text,
    site_id     text NOT NULL,
    reference   text,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (receipt_id, line_no)
);
CREATE INDEX receipt_batch ON receipt (batch_id, received_at);

-- What the ledger said. `line_id`: the shipment line that an issue answers.
CREATE TABLE movement (
    movement_id      uuid PRIMARY KEY,
    batch_id         uuid NOT NULL,
    item_id          text COLLATE "C" NOT NULL,
    sequence         bigint NOT NULL,
    quantity         numeric NOT NULL CHECK (quantity > 0),
    unit             text NOT NULL,
    from_kind        text NOT NULL,
    from_site_id     text NOT NULL,
    from_location_id text NOT NULL,
    from_partner_id  text NOT NULL,
    from_quality     text NOT NULL,
    to_kind          text NOT NULL,
    to_site_id       text NOT NULL,
    to_location_id   text NOT NULL,
    to_partner_id    text NOT NULL,
    to_quality       text NOT NULL,
    reason           text NOT NULL,
    reference        text,
    line_id          uuid,
    reverses         uuid,
    effective_at     timestamptz NOT NULL,
    recorded_at      timestamptz NOT NULL
);
CREATE INDEX movement_batch ON movement (batch_id, effective_at);
CREATE INDEX movement_issued ON movement (batch_id) WHERE to_kind = 'customer';
CREATE INDEX movement_reverses ON movement (reverses) WHERE reverses IS NOT NULL;
CREATE INDEX movement_line ON movement (line_id) WHERE line_id IS NOT NULL;

-- Movements folded: what came to and went from each spot of a batch, ever. What is there is the difference.
CREATE TABLE custody (
    batch_id    uuid NOT NULL,
    kind        text NOT NULL,
    site_id     text NOT NULL,
    location_id text NOT NULL,
    partner_id  text NOT NULL,
    quality     text NOT NULL,
    unit        text NOT NULL,
    came        numeric NOT NULL,
    went        numeric NOT NULL,
    PRIMARY KEY (batch_id, kind, site_id, location_id, partner_id, quality)
);

CREATE TABLE hold (
    hold_id     uuid PRIMARY KEY,
    batch_id    uuid NOT NULL,
    kind        text NOT NULL,
    site_id     text,
    location_id text,
    reason      text NOT NULL,
    reference   text,
    placed_at   timestamptz NOT NULL,
    lifted_at   timestamptz,
    lift_reason text,
    CHECK ((lifted_at IS NULL) = (lift_reason IS NULL))
);
CREATE INDEX hold_batch ON hold (batch_id);

CREATE TABLE promise (
    reservation_id uuid PRIMARY KEY,
    demand_id      uuid NOT NULL,
    reference      text NOT NULL,
    customer_id    text NOT NULL,
    item_id        text COLLATE "C" NOT NULL,
    batch_id       uuid NOT NULL,
    location_id    text NOT NULL,
    quantity       numeric NOT NULL CHECK (quantity > 0),
    unit           text NOT NULL
);
CREATE INDEX promise_batch ON promise (batch_id);
CREATE INDEX promise_demand ON promise (demand_id);

CREATE TABLE revocation (
    reservation_id uuid NOT NULL,
    revoked_at     timestamptz NOT NULL,
    demand_id      uuid NOT NULL,
    customer_id    text NOT NULL,
    batch_id       uuid NOT NULL,
    quantity       numeric NOT NULL CHECK (quantity > 0),
    picked         boolean NOT NULL,
    code           text NOT NULL,
    reason         text NOT NULL,
    PRIMARY KEY (reservation_id, revoked_at)
);
CREATE INDEX revocation_batch ON revocation (batch_id, revoked_at);

CREATE TABLE pick (
    pick_id        uuid PRIMARY KEY,
    reservation_id uuid NOT NULL,
    demand_id      uuid NOT NULL,
    customer_id    text NOT NULL,
    batch_id       uuid NOT NULL,
    quantity       numeric NOT NULL CHECK (quantity > 0),
    picked_at      timestamptz NOT NULL
);
CREATE INDEX pick_batch ON pick (batch_id);
CREATE INDEX pick_reservation ON pick (reservation_id);

-- A shipment line at the gate: in transit until the ledger issues it or refuses it.
CREATE TABLE dispatch (
    line_id       uuid PRIMARY KEY,
    shipment_id   uuid NOT NULL,
    demand_id     uuid NOT NULL,
    reference     text NOT NULL,
    customer_id   text NOT NULL,
    site_id       text NOT NULL,
    item_id       text COLLATE "C" NOT NULL,
    batch_id      uuid NOT NULL,
    quantity      numeric NOT NULL CHECK (quantity > 0),
    unit          text NOT NULL,
    carrier       text,
    dispatched_at timestamptz NOT NULL
);
CREATE INDEX dispatch_batch ON dispatch (batch_id);

CREATE TABLE refusal (
    line_id    uuid PRIMARY KEY,
    batch_id   uuid NOT NULL,
    code       text NOT NULL,
    reason     text NOT NULL,
    refused_at timestamptz NOT NULL
);

-- `subject`: a batch's id, the id of a batch's name, or that of an item or partner (domain/names.py).
-- `event_id` is absent for what trace said itself.
CREATE TABLE timeline (
    id         bigint GENERATED ALWAYS AS IDENTITY,
    subject    uuid NOT NULL,
    at         timestamptz NOT NULL,
    said_at    timestamptz NOT NULL,
    event_id   uuid,
    event_type text NOT NULL,
    actor      text,
    sentence   text NOT NULL,
    detail     jsonb NOT NULL,
    PRIMARY KEY (subject, at, id)
);

CREATE TABLE recall (
    recall_id    uuid PRIMARY KEY,
    seed         uuid NOT NULL,
    item_id      text COLLATE "C" NOT NULL,
    batch_no     text COLLATE "C" NOT NULL,
    reason       text NOT NULL,
    opened_at    timestamptz NOT NULL,
    opened_by    text NOT NULL,
    closed_at    timestamptz,
    closed_by    text,
    close_reason text,
    CHECK (num_nulls(closed_at, closed_by, close_reason) IN (0, 3))
);
CREATE UNIQUE INDEX recall_open_once ON recall (seed) WHERE closed_at IS NULL;

-- A batch in a recall's scope. Until it is registered, `node` is the id of its name and nothing was said about it.
CREATE TABLE recall_batch (
    recall_id         uuid NOT NULL REFERENCES recall,
    node              uuid NOT NULL,
    name_id           uuid NOT NULL,
    item_id           text COLLATE "C" NOT NULL,
    batch_no          text COLLATE "C" NOT NULL,
    seed              boolean NOT NULL,
    depth             integer NOT NULL CHECK (depth >= 0),
    ruled_out_by_time boolean NOT NULL,
    joined_at         timestamptz NOT NULL,
    said_at           timestamptz,
    lifted_at         timestamptz,
    lift_reason       text,
    PRIMARY KEY (recall_id, node),
    CHECK (said_at IS NULL OR node <> name_id),
    CHECK ((lifted_at IS NULL) = (lift_reason IS NULL))
);
CREATE INDEX recall_batch_name ON recall_batch (name_id);

REVOKE UPDATE, DELETE ON report, link, receipt, movement, revocation, pick, dispatch, refusal, timeline
    FROM batchwise_trace;
REVOKE DELETE ON batch, hold, custody, recall, recall_batch FROM batchwise_trace;
