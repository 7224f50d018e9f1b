CREATE TABLE public.counted (
    name  text PRIMARY KEY,
    total bigint NOT NULL,
    seen  bigint[] NOT NULL
);
