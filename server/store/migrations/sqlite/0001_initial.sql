-- Times are milliseconds since the Unix epoch, UTC. Text is UTF-8.

CREATE TABLE users (
    id                INTEGER PRIMARY KEY AUTOINCREMENT,
    -- Display name: the local part of the e-mail, not unique.
    name              TEXT    NOT NULL,
    email             TEXT    NOT NULL,
    -- Lower-cased e-mail: two spellings of one address are one account.
    email_key         TEXT    NOT NULL UNIQUE,
    email_verified_at INTEGER,
    password_hash     TEXT    NOT NULL,
    avatar            TEXT    NOT NULL,
    created_at        INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL
);

CREATE TABLE tokens (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    -- SHA-256 of the token; the token itself is never stored.
    hash       BLOB    NOT NULL UNIQUE,
    user_id    INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    scope      TEXT    NOT NULL CHECK (scope IN ('api', 'cookie')),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
);
CREATE INDEX tokens_user ON tokens (user_id, scope, id);
CREATE INDEX tokens_expiry ON tokens (expires_at);

CREATE TABLE rooms (
    id         INTEGER PRIMARY KEY,
    name       TEXT    NOT NULL,
    -- Seq of the newest message; seqs of a room run from 1 without gaps.
    last_seq   INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL
);

-- No foreign keys on messages and reads: they are written by group commit, and one row that
-- breaks a constraint would fail the batch of everybody. Rooms are checked by hand before.
CREATE TABLE messages (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    room_id    INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    user_id    INTEGER NOT NULL,
    msg        TEXT    NOT NULL,
    img        TEXT    NOT NULL,
    -- The time string as it was broadcast.
    time       TEXT    NOT NULL,
    created_at INTEGER NOT NULL
);
CREATE UNIQUE INDEX messages_room_seq ON messages (room_id, seq);

CREATE TABLE reads (
    user_id INTEGER NOT NULL,
    room_id INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    -- The user is in the room, or was when the process ended.
    is_reading INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (user_id, room_id)
) WITHOUT ROWID;

CREATE TABLE files (
    kind       TEXT    NOT NULL CHECK (kind IN ('messages', 'avatars')),
    -- SHA-256 of the content, in hexadecimal.
    hash       TEXT    NOT NULL,
    mime       TEXT    NOT NULL,
    bytes      INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (kind, hash)
) WITHOUT ROWID;
