"""A witness in each database: what was ever put into an outbox, since the relay takes the rows away."""

import asyncpg

_WITNESS = """
CREATE SCHEMA IF NOT EXISTS witness;
CREATE TABLE IF NOT EXISTS witness.said (
    id         bigint PRIMARY KEY,
    topic      text   NOT NULL,
    key        text   NOT NULL,
    event_id   uuid   NOT NULL,
    event_type text   NOT NULL
);
CREATE OR REPLACE FUNCTION witness.note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO witness.said VALUES (NEW.id, NEW.topic, NEW.key, NEW.event_id, NEW.event_type);
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER note AFTER INSERT ON delivery.outbox FOR EACH ROW EXECUTE FUNCTION witness.note();
"""


async def put_witness(dsn: str) -> None:
    """Let the database behind `dsn` note every row of its outbox, in the transaction that puts it there."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(_WITNESS)
    finally:
        await connection.close()
