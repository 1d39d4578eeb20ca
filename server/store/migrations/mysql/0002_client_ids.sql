ALTER TABLE messages
    ADD COLUMN cid VARBINARY(64),
    ADD UNIQUE INDEX messages_cid (room_id, user_id, cid);
