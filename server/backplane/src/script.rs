//! The Lua scripts. Each touches one key, so that each works on a cluster.

use std::sync::LazyLock;

/// A script and its hash.
pub struct Script(redis::Script, &'static str);

impl Script {
    fn new(text: &'static str) -> Script {
        Script(redis::Script::new(text), text)
    }

    pub(crate) fn sha(&self) -> &str {
        self.0.get_hash()
    }

    pub(crate) fn text(&self) -> &'static str {
        self.1
    }
}

/// `key value ms`: prolongs the key if it still holds the value; 1 if so.
pub static RENEW: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[1]) == ARGV[1] then \
           return redis.call('PEXPIRE', KEYS[1], ARGV[2]) \
         else return 0 end",
    )
});

/// `key value`: deletes the key if it still holds the value; 1 if so.
pub static RELEASE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) \
         else return 0 end",
    )
});

/// `key field value`: deletes the field if it still holds the value; 1 if so. The close of an old
/// connection must not erase a newer one.
pub static FORGET: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then \
           return redis.call('HDEL', KEYS[1], ARGV[1]) \
         else return 0 end",
    )
});
