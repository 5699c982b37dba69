CREATE TABLE tickets (
    id     INTEGER PRIMARY KEY,
    team   TEXT NOT NULL,
    title  TEXT NOT NULL,
    closed BOOLEAN NOT NULL
);
