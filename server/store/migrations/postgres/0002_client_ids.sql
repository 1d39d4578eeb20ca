ALTER TABLE messages ADD COLUMN cid BYTEA;

CREATE UNIQUE INDEX messages_cid ON messages (room_id, user_id, cid) WHERE cid IS NOT NULL;
