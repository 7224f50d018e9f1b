-- What the delivery layer keeps in every service's database, in a schema of its own.

-- Events that have taken effect here. A row is never removed: owner topics keep their messages for ever, so any event
-- can come again by a replay (docs/decisions).
CREATE TABLE delivery.inbox (
    event_id   uuid        PRIMARY KEY,
    handled_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What was announced and is not yet known to be on its topic. `id` follows commit order for each key.
CREATE TABLE delivery.outbox (
    id             bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic          text        NOT NULL,
    key            text        NOT NULL,
    event_id       uuid        NOT NULL,
    event_type     text        NOT NULL,
    said_at        timestamptz NOT NULL,
    correlation_id text        NOT NULL,
    causation_id   text,
    actor          text,
    traceparent    text,
    body           bytea       NOT NULL
);
ALTER TABLE delivery.outbox SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- Messages that a person has to look at, and those of the same key that wait behind them.
CREATE TABLE delivery.parked (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic       text        NOT NULL,
    partition   integer     NOT NULL,
    "offset"    bigint      NOT NULL,
    key         text,
    event_id    text,
    event_type  text,
    headers     jsonb       NOT NULL,
    body        bytea       NOT NULL,
    kind        text        NOT NULL CHECK (kind IN ('malformed', 'unknown_type', 'never_works', 'bug', 'behind')),
    error       text        NOT NULL,
    attempts    integer     NOT NULL CHECK (attempts >= 0),
    parked_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    status      text        NOT NULL DEFAULT 'parked' CHECK (status IN ('parked', 'replayed', 'discarded')),
    settled_at  timestamptz,
    settled_by  text,
    settled_why text,
    edited_body bytea,
    UNIQUE (topic, partition, "offset"),
    CHECK ((status = 'parked') = (settled_at IS NULL)),
    CHECK (status <> 'discarded' OR settled_why IS NOT NULL)
);
CREATE INDEX parked_open ON delivery.parked (topic, key, id) WHERE status = 'parked';

-- The first answer to each HTTP write, given again when the same call comes again.
CREATE TABLE delivery.answer (
    caller          text        NOT NULL,
    idempotency_key text        NOT NULL,
    fingerprint     bytea       NOT NULL,
    status          smallint    NOT NULL,
    media_type      text        NOT NULL,
    body            bytea       NOT NULL,
    answered_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (caller, idempotency_key)
);
