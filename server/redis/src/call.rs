//! One command on one key, sent alone or in a pipeline.

use redis::{Cmd, ToRedisArgs};

use crate::script::Script;

/// A command, and the key that determines its slot in a cluster.
#[derive(Clone)]
pub struct Call {
    pub(crate) key: Vec<u8>,
    pub(crate) cmd: Cmd,
    /// The same with the text of the script, for a server that has not loaded it.
    pub(crate) fallback: Option<Cmd>,
}

impl Call {
    /// `NAME key`, to be continued with [`Call::arg`].
    pub fn new(name: &str, key: &str) -> Call {
        let mut cmd = redis::cmd(name);
        cmd.arg(key);
        Call { key: key.as_bytes().to_vec(), cmd, fallback: None }
    }

    /// `NAME SUB key`.
    pub fn sub(name: &str, sub: &str, key: &str) -> Call {
        let mut cmd = redis::cmd(name);
        cmd.arg(sub).arg(key);
        Call { key: key.as_bytes().to_vec(), cmd, fallback: None }
    }

    /// On one key, which follows the arguments so far: `EVAL text 1 key`.
    #[must_use]
    pub(crate) fn on(mut self, key: &str) -> Call {
        self.key = key.as_bytes().to_vec();
        self.arg(1).arg(key)
    }

    /// A script on keys of one slot.
    pub fn script(script: &Script, keys: &[&str]) -> Call {
        let mut cmd = redis::cmd("EVALSHA");
        cmd.arg(script.sha()).arg(keys.len()).arg(keys);
        let mut fallback = redis::cmd("EVAL");
        fallback.arg(script.text()).arg(keys.len()).arg(keys);
        let key = keys.first().map_or_else(Vec::new, |key| key.as_bytes().to_vec());
        Call { key, cmd, fallback: Some(fallback) }
    }

    /// With one more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl ToRedisArgs) -> Call {
        if let Some(fallback) = &mut self.fallback {
            fallback.arg(&arg);
        }
        self.cmd.arg(arg);
        self
    }
}
