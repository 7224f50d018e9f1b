-- Sites as inventory last said them. `staging` is empty while nobody described any staging location there.
CREATE TABLE site (
    site_id   text    PRIMARY KEY,
    revision  integer NOT NULL CHECK (revision >= 1),
    time_zone text    NOT NULL,
    set_up    boolean NOT NULL,
    staging   text[]  NOT NULL
);
