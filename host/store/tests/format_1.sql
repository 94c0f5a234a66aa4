CREATE TABLE head (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    epoch INTEGER NOT NULL, owner TEXT NOT NULL,
    journal_seq INTEGER NOT NULL, journal_digest BLOB NOT NULL
) STRICT;
INSERT INTO head VALUES (1, 0, '', 0, zeroblob(32));

CREATE TABLE pipelines (id TEXT PRIMARY KEY, cursor BLOB) STRICT, WITHOUT ROWID;

CREATE TABLE raw_parts (
    pipeline TEXT NOT NULL REFERENCES pipelines, end_row INTEGER NOT NULL,
    first_row INTEGER NOT NULL, digest BLOB NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (pipeline, end_row), UNIQUE (pipeline, first_row)
) STRICT;

CREATE TABLE clean_parts (
    pipeline TEXT NOT NULL, chain BLOB NOT NULL, end_row INTEGER NOT NULL,
    quarantined INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (pipeline, chain, end_row),
    FOREIGN KEY (pipeline, end_row) REFERENCES raw_parts (pipeline, end_row)
) STRICT;
CREATE INDEX clean_parts_quarantined ON clean_parts (pipeline, chain, end_row) WHERE quarantined;

CREATE TABLE snapshots (
    id BLOB NOT NULL, pipeline TEXT NOT NULL REFERENCES pipelines, body TEXT NOT NULL,
    PRIMARY KEY (id, pipeline)
) STRICT;

CREATE TABLE runs (
    pipeline TEXT NOT NULL REFERENCES pipelines, id INTEGER NOT NULL,
    state TEXT NOT NULL, open INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (pipeline, id)
) STRICT;
CREATE UNIQUE INDEX runs_open ON runs (pipeline) WHERE open;

CREATE TABLE versions (
    pipeline TEXT NOT NULL REFERENCES pipelines, number INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (pipeline, number)
) STRICT;

CREATE TABLE decisions (
    pipeline TEXT NOT NULL, number INTEGER NOT NULL, version INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (pipeline, number),
    FOREIGN KEY (pipeline, version) REFERENCES versions (pipeline, number)
) STRICT;
CREATE INDEX decisions_about ON decisions (pipeline, version, number);

CREATE TABLE alias_moves (
    pipeline TEXT NOT NULL, alias TEXT NOT NULL, decision INTEGER NOT NULL,
    at INTEGER NOT NULL, from_version INTEGER, to_version INTEGER NOT NULL,
    PRIMARY KEY (pipeline, alias, decision),
    FOREIGN KEY (pipeline, decision) REFERENCES decisions (pipeline, number) DEFERRABLE INITIALLY DEFERRED,
    FOREIGN KEY (pipeline, to_version) REFERENCES versions (pipeline, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE state (
    pipeline TEXT NOT NULL REFERENCES pipelines, key TEXT NOT NULL, revision INTEGER NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (pipeline, key)
) STRICT;

CREATE TABLE journal (
    seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, pipeline TEXT NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL,
    previous BLOB NOT NULL, digest BLOB NOT NULL
) STRICT;
CREATE INDEX journal_of ON journal (pipeline, seq);

CREATE TABLE work (
    place INTEGER PRIMARY KEY, pipeline TEXT NOT NULL, key BLOB NOT NULL, plan BLOB NOT NULL,
    lease INTEGER NOT NULL, fence INTEGER NOT NULL, owner TEXT NOT NULL, until INTEGER, result BLOB,
    UNIQUE (pipeline, key)
) STRICT;
CREATE INDEX work_pending ON work (pipeline, place) WHERE result IS NULL;
