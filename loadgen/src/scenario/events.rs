//! Names of a server's events: where they stand, and the few of other protocols.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// An events file, or its content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum EventsSource {
    File(PathBuf),
    Inline(toml::Table),
}

/// What a message is called where there is no events file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MessageNames {
    /// Phoenix: `new_msg`; Pusher: `client-message`.
    pub event: Option<String>,
    /// The member that holds the text; Phoenix: `body`; Centrifugo and Pusher: `text`.
    pub field: Option<String>,
}
