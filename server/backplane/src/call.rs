//! One command on one key, ready to be sent alone or with others.

use redis::{Cmd, ToRedisArgs};

use crate::script::Script;

/// A command and the key that says where in a cluster it goes.
#[derive(Clone)]
pub struct Call {
    pub(crate) key: Vec<u8>,
    pub(crate) cmd: Cmd,
    /// The same with the text of the script, for a server that does not know it.
    pub(crate) fallback: Option<Cmd>,
}

impl Call {
    /// `NAME key`, to be continued with [`Call::arg`].
    pub fn new(name: &str, key: &str) -> Call {
        let mut cmd = redis::cmd(name);
        cmd.arg(key);
        Call { key: key.as_bytes().to_vec(), cmd, fallback: None }
    }

    pub fn script(script: &Script, key: &str) -> Call {
        let mut cmd = redis::cmd("EVALSHA");
        cmd.arg(script.sha()).arg(1).arg(key);
        let mut fallback = redis::cmd("EVAL");
        fallback.arg(script.text()).arg(1).arg(key);
        Call { key: key.as_bytes().to_vec(), cmd, fallback: Some(fallback) }
    }

    #[must_use]
    pub fn arg(mut self, arg: impl ToRedisArgs) -> Call {
        self.cmd.arg(&arg);
        if let Some(fallback) = &mut self.fallback {
            fallback.arg(&arg);
        }
        self
    }
}
