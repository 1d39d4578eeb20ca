-- Times are milliseconds since the Unix epoch, UTC. The tables are those of SQLite's migrations;
-- the reasons are written there. Names and keys are compared byte by byte, as elsewhere.

CREATE TABLE users (
    id                BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
    name              VARCHAR(255) NOT NULL,
    email             VARCHAR(255) NOT NULL,
    email_key         VARCHAR(255) NOT NULL UNIQUE,
    email_verified_at BIGINT,
    password_hash     VARCHAR(255) NOT NULL,
    avatar            TEXT         NOT NULL,
    created_at        BIGINT       NOT NULL,
    updated_at        BIGINT       NOT NULL
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE tokens (
    id         BIGINT      NOT NULL AUTO_INCREMENT PRIMARY KEY,
    hash       BINARY(32)  NOT NULL UNIQUE,
    user_id    BIGINT      NOT NULL,
    scope      VARCHAR(16) NOT NULL CHECK (scope IN ('api', 'cookie')),
    created_at BIGINT      NOT NULL,
    expires_at BIGINT      NOT NULL,
    FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    INDEX tokens_user (user_id, scope, id),
    INDEX tokens_expiry (expires_at)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE rooms (
    id         BIGINT       NOT NULL PRIMARY KEY,
    name       VARCHAR(255) NOT NULL,
    last_seq   BIGINT       NOT NULL DEFAULT 0,
    created_at BIGINT       NOT NULL
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE messages (
    id         BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
    room_id    BIGINT       NOT NULL,
    seq        BIGINT       NOT NULL,
    user_id    BIGINT       NOT NULL,
    msg        MEDIUMTEXT   NOT NULL,
    img        TEXT         NOT NULL,
    time       VARCHAR(255) NOT NULL,
    created_at BIGINT       NOT NULL,
    UNIQUE INDEX messages_room_seq (room_id, seq)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE read_marks (
    user_id BIGINT NOT NULL,
    room_id BIGINT NOT NULL,
    seq     BIGINT NOT NULL,
    PRIMARY KEY (user_id, room_id)
) ENGINE = InnoDB;

CREATE TABLE reading (
    node    VARCHAR(100) NOT NULL,
    user_id BIGINT       NOT NULL,
    room_id BIGINT       NOT NULL,
    PRIMARY KEY (node, user_id, room_id)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE files (
    kind       VARCHAR(16)  NOT NULL CHECK (kind IN ('messages', 'avatars')),
    hash       CHAR(64)     NOT NULL,
    mime       VARCHAR(255) NOT NULL,
    bytes      BIGINT       NOT NULL,
    created_at BIGINT       NOT NULL,
    PRIMARY KEY (kind, hash)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
