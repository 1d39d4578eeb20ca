-- Several nodes may share a database: who is reading is known per node, so that the end of one
-- node settles its own readers and nobody else's.
CREATE TABLE reading (
    node    TEXT    NOT NULL,
    user_id INTEGER NOT NULL,
    room_id INTEGER NOT NULL,
    PRIMARY KEY (node, user_id, room_id)
) WITHOUT ROWID;

INSERT INTO reading (node, user_id, room_id)
SELECT 'local', user_id, room_id FROM reads WHERE is_reading <> 0;

ALTER TABLE reads DROP COLUMN is_reading;
-- `reads` is a reserved word elsewhere; one name for all databases.
ALTER TABLE reads RENAME TO read_marks;
