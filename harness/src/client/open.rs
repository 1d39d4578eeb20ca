//! The open packet of an Engine.IO session.

use std::time::Duration;

use serde_json::Value;

use super::ClientError;

/// The server's handshake.
#[derive(Clone, Debug, Default)]
pub struct Open {
    pub sid: String,
    pub upgrades: Vec<String>,
    pub ping_interval: Duration,
    pub ping_timeout: Duration,
    pub max_payload: Option<u64>,
    pub raw: Value,
}

impl Open {
    pub fn parse(text: &str) -> Result<Open, ClientError> {
        let raw: Value = serde_json::from_str(text)
            .map_err(|why| ClientError::Protocol(format!("the open packet is not JSON: {why}")))?;
        let millis = |key: &str| raw[key].as_u64().map(Duration::from_millis);
        let (Some(sid), Some(ping_interval), Some(ping_timeout), Some(upgrades)) = (
            raw["sid"].as_str(),
            millis("pingInterval"),
            millis("pingTimeout"),
            raw["upgrades"].as_array(),
        ) else {
            return Err(ClientError::Protocol(format!("the open packet lacks a field: {text}")));
        };
        Ok(Open {
            sid: sid.to_owned(),
            upgrades: upgrades.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect(),
            ping_interval,
            ping_timeout,
            max_payload: raw["maxPayload"].as_u64(),
            raw: raw.clone(),
        })
    }
}
