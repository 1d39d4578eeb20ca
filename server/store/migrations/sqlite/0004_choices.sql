-- Whether the user follows the room, as they have chosen: it grows with each choice, and an odd one means no.
ALTER TABLE read_marks ADD COLUMN choice INTEGER NOT NULL DEFAULT 0;
