//! Settings from the environment. A variable that names no setting is a warning and not a fault, because
//! others write there too: Kubernetes gives every pod variables of each service, so that a service of the
//! name `throng` makes `THRONG_PORT=tcp://…` and `THRONG_SERVICE_HOST`.

use std::ffi::OsString;

use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};
use throng_tables::settings::Kind;

use super::reader::{ConfigFault, closest};
use super::{Flags, Shown};

const PREFIX: &str = "THRONG_";
/// Flags with a variable of their own, which clap reads.
const OF_THE_COMMAND_LINE: [&str; 2] = ["THRONG_CONFIG", "THRONG_IMPORT_FROM"];

/// What the environment says.
#[derive(Default)]
pub struct Environment {
    settings: Flags,
    /// One sentence for each variable that names no setting.
    pub warnings: Vec<String>,
    /// Variables that are no text.
    pub faults: Vec<ConfigFault>,
}

impl Environment {
    /// `known`: all settings.
    pub fn read(
        variables: impl Iterator<Item = (OsString, OsString)>,
        known: &[Shown],
    ) -> Environment {
        let mut read = Environment::default();
        for (name, value) in variables {
            let Some(name) = name.to_str().map(str::to_uppercase) else { continue };
            let Some(rest) = name.strip_prefix(PREFIX) else { continue };
            if OF_THE_COMMAND_LINE.contains(&name.as_str()) {
                continue;
            }
            let Some(shown) = known.iter().find(|shown| shown.setting.environment() == name) else {
                let key = rest.to_lowercase().replace("__", ".");
                let hint = closest(&key, known).map_or_else(String::new, |shown| {
                    format!("; did you mean {}?", shown.setting.environment())
                });
                read.warnings.push(format!("{name}: unknown setting, ignored{hint}"));
                continue;
            };
            match value.to_str() {
                Some(text) => read.settings.set(&shown.key, typed(shown.setting.kind, text)),
                None => read.faults.push(format!("{name}: not UTF-8")),
            }
        }
        read.warnings.sort_unstable();
        read
    }
}

impl Provider for Environment {
    fn metadata(&self) -> Metadata {
        Metadata::named("environment")
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        self.settings.data()
    }
}

fn typed(kind: Kind, text: &str) -> Value {
    let parsed = || text.parse::<Value>().unwrap_or_else(|never| match never {});
    match (kind, parsed()) {
        (Kind::List, _) => list(text),
        // `1` may be the name of a node.
        (Kind::Text, Value::String(tag, text)) => Value::String(tag, text),
        (Kind::Text, _) => Value::from(text),
        (Kind::Number | Kind::Switch, value) => value,
    }
}

/// A list in a flag or in the environment: as in the file, or texts with commas between them.
pub fn list(text: &str) -> Value {
    if text.trim_start().starts_with('[') {
        return text.parse().unwrap_or_else(|never| match never {});
    }
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    Value::from(items.map(Value::from).collect::<Vec<Value>>())
}
