-- What production used up before the books had it: its receipt or release may still be on its way on another topic.
CREATE TABLE owed_consumption (
    consumption_id    uuid        PRIMARY KEY,
    item_id           text        NOT NULL,
    batch_no          text        NOT NULL,
    supplier_batch_no text,
    site_id           text        NOT NULL,
    unit              text        NOT NULL,
    into_item_id      text        NOT NULL,
    into_batch_no     text        NOT NULL,
    consumed_at       timestamptz NOT NULL,
    quantity          numeric     NOT NULL CHECK (quantity >= 0)  -- 0: all of it is booked by now
);
CREATE INDEX owed_consumption_open ON owed_consumption (item_id, site_id) WHERE quantity > 0;
