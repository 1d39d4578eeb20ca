-- The client id of a message: bytes, so that no database compares them by its own rules. A message
-- that has none is in no index, and none of one author and room is there twice.
ALTER TABLE messages ADD COLUMN cid BLOB;

CREATE UNIQUE INDEX messages_cid ON messages (room_id, user_id, cid) WHERE cid IS NOT NULL;
