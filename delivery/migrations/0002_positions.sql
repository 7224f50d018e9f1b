-- How far this database has heard and said, kept in the transactions that did so: the database, not the consumer group,
-- knows what took effect here. One that is restored from a backup so notices by itself that it is older than its topics.

-- Everything before `next` on a partition of a topic that is heard took effect here, was parked, or does not matter here.
CREATE TABLE delivery.heard_up_to (
    topic     text    NOT NULL,
    partition integer NOT NULL,
    next      bigint  NOT NULL CHECK (next >= 0),
    PRIMARY KEY (topic, partition)
) WITH (fillfactor = 50);

-- Everything before `next` on a partition of a topic of our own was known here when it was sent.
CREATE TABLE delivery.said_up_to (
    topic     text    NOT NULL,
    partition integer NOT NULL,
    next      bigint  NOT NULL CHECK (next >= 0),
    PRIMARY KEY (topic, partition)
) WITH (fillfactor = 50);

-- Each time that an operator confirmed what a restored database could not know, with the report of it.
CREATE TABLE delivery.restoration (
    restoration_id uuid        PRIMARY KEY,
    confirmed_at   timestamptz NOT NULL,
    why            text        NOT NULL,
    report         jsonb       NOT NULL
);
