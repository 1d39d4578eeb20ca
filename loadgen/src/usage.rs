//! What `--help` adds to the options: the default of each, read from the default scenario, and the exit
//! codes.

use clap::Command;
use serde_json::Value;

use crate::scenario::Scenario;
use crate::verdict;

/// Options whose key has another name.
const KEYS: [(&str, &str); 11] = [
    ("duration", "duration_s"),
    ("warmup", "warmup_s"),
    ("drain", "drain_s"),
    ("users", "users.register"),
    ("tokens", "users.tokens"),
    ("rate", "load.rate"),
    ("delivery_rate", "load.delivery_rate"),
    ("arrivals", "load.arrivals"),
    ("outstanding", "load.outstanding"),
    ("completion", "load.completion"),
    ("settle_ms", "connect.settle_ms"),
];

/// Adds defaults and exit codes to the help of all subcommands.
#[must_use]
pub fn describe(command: Command) -> Command {
    let defaults = serde_json::to_value(Scenario::default()).unwrap_or_default();
    let names: Vec<String> =
        command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    names
        .into_iter()
        .fold(command, |command, name| {
            command.mut_subcommand(name, |subcommand| {
                subcommand.after_help(verdict::EXIT_CODES).mut_args(|option| {
                    let is_plain = option.get_default_values().is_empty();
                    let default =
                        default_of(&defaults, option.get_id().as_str()).filter(|_| is_plain);
                    match (default, option.get_help().map(ToString::to_string)) {
                        (Some(default), Some(help)) if !help.contains("[default") => {
                            option.help(format!("{help} [default: {default}]"))
                        }
                        _ => option,
                    }
                })
            })
        })
        .after_help(verdict::EXIT_CODES)
}

/// The default of an option; none if it is not a key of a scenario.
fn default_of(defaults: &Value, option: &str) -> Option<String> {
    let key = KEYS.iter().find(|(name, _)| *name == option).map_or(option, |(_, key)| *key);
    let own = key.split('.').try_fold(defaults, |value, key| value.get(key));
    let in_section = || {
        let (section, key) = key.split_once('_')?;
        defaults.get(section)?.get(key)
    };
    Some(match own.or_else(in_section)? {
        Value::Null => "none".to_owned(),
        Value::Array(values) if values.is_empty() => "none".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_the_scenario() {
        let defaults = serde_json::to_value(Scenario::default()).unwrap();
        let of = |option| default_of(&defaults, option);
        assert_eq!(of("clients").as_deref(), Some("100"));
        assert_eq!(of("rate").as_deref(), Some("10.0"));
        assert_eq!(of("connect_concurrency").as_deref(), Some("128"));
        assert_eq!(of("server_pid").as_deref(), Some("none"));
        assert_eq!(of("payload").as_deref(), Some("128"));
        assert_eq!(of("json"), None);
    }
}
