-- Sites as inventory last said them; `sites` is how many there were then. None at all: it never told of any.
CREATE TABLE site (
    site_id   text    PRIMARY KEY,
    revision  integer NOT NULL CHECK (revision >= 1),
    time_zone text    NOT NULL,
    set_up    boolean NOT NULL,
    docks     text[]  NOT NULL,
    sites     integer NOT NULL CHECK (sites >= 1)
);
