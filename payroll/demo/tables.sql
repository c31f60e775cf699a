-- The demo's own tables, beside the application's.

CREATE TABLE demo_expected (   -- by recompute.py, from the CSV files
    number text PRIMARY KEY,
    currency text NOT NULL,
    minutes integer NOT NULL,
    gross numeric(14, 2) NOT NULL,
    withholding numeric(14, 2) NOT NULL,
    net numeric(14, 2) NOT NULL
);

CREATE TABLE demo_message (    -- everything that is published; a task id may be published twice
    place integer PRIMARY KEY, -- in the order of publishing
    task_id text NOT NULL,
    number text NOT NULL REFERENCES demo_expected
);

CREATE TABLE demo_delivery (   -- written by the workers: worker.py
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_id text NOT NULL,
    process integer NOT NULL,  -- the pool process's pid
    session integer NOT NULL,  -- its database session's
    outcome text               -- null: still at it, or killed; else as Celery has it
);

CREATE TABLE demo_kill (       -- written by the demo when the process is gone
    process integer PRIMARY KEY,
    what text NOT NULL,
    number text NOT NULL REFERENCES demo_expected
);
