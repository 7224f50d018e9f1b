-- A relay of a version that knows no `said_up_to` takes announcements out of the outbox and moves no mark. What it took
-- out was said by this database all the same, and must not look like something that the database has forgotten.

-- Ids of such announcements; empty again as soon as a relay that keeps marks has taken over.
CREATE TABLE delivery.said_unmarked (
    event_id uuid PRIMARY KEY
);

CREATE FUNCTION delivery.keep_said_unmarked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO delivery.said_unmarked (event_id) VALUES (OLD.event_id) ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;

-- Whoever keeps marks says so in its session (delivery/relay.py), and pays nothing.
CREATE TRIGGER keep_said_unmarked AFTER DELETE ON delivery.outbox
    FOR EACH ROW WHEN (current_setting('delivery.keeps_marks', true) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION delivery.keep_said_unmarked();
