//! What a run must judge to count: capabilities that the target must have, and a number of results.

use crate::capabilities::{Capabilities, Capability, Need};
use crate::runner::{Instance, Report};

/// What the command line demands of a run.
#[derive(Clone, Debug)]
pub struct Demands {
    /// `None`: the chat, if a selected case is about it.
    pub required: Option<Vec<Capability>>,
    /// Results with a verdict about the target.
    pub min_judged: usize,
}

/// A demand that a run did not meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortfall {
    /// Such as `requires chat`.
    pub demand: String,
    /// What there was instead.
    pub observed: String,
}

impl Demands {
    /// Reads the items of `--require`: names of capabilities, `none`, or files with one name per line.
    ///
    /// # Errors
    /// An item that is neither, in words.
    pub fn parse_required(
        items: &[String],
        read: impl Fn(&str) -> Result<String, String>,
    ) -> Result<Vec<Capability>, String> {
        let mut required = Vec::new();
        for item in items {
            if item == NONE {
                continue;
            }
            let named = Capability::named(item);
            if !named.is_empty() {
                required.extend(named);
                continue;
            }
            let text = read(item).map_err(|why| {
                format!("--require {item}: not a capability ({}), and as a file: {why}", names())
            })?;
            required.extend(parse_record(&text).map_err(|why| format!("{item}: {why}"))?);
        }
        required.sort();
        required.dedup();
        Ok(required)
    }

    /// The required capabilities that the target lacks.
    pub fn lacking(&self, capabilities: &Capabilities, instances: &[Instance]) -> Vec<Shortfall> {
        let by_default = || {
            let needs_chat = |instance: &Instance| instance.case.needs.contains(&Need::Chat);
            if instances.iter().any(needs_chat) { vec![Capability::Chat] } else { Vec::new() }
        };
        let required = self.required.clone().unwrap_or_else(by_default);
        let lacks = required.into_iter().filter(|capability| !capabilities.has(*capability));
        lacks
            .map(|capability| Shortfall {
                demand: format!("requires {}", capability.name()),
                observed: capabilities.instead_of(capability).to_owned(),
            })
            .collect()
    }

    /// That fewer results were judged than demanded.
    pub fn too_few(&self, reports: &[Report]) -> Option<Shortfall> {
        let judged = reports.iter().filter(|report| report.is_judged()).count();
        (judged < self.min_judged).then(|| Shortfall {
            demand: format!("at least {} results judged", self.min_judged),
            observed: format!("{judged} judged of {}", reports.len()),
        })
    }
}

/// Requires nothing.
const NONE: &str = "none";

/// The capabilities as `--record-capabilities` writes them: a file for `--require`.
pub fn record(target: &str, capabilities: &Capabilities) -> String {
    let has = |capability: &Capability| capabilities.has(*capability);
    let mut text = format!("# What {target} offers, for throng-harness run --require\n");
    for capability in Capability::ALL.into_iter().filter(has) {
        text.push_str(&format!("{}\n", capability.name()));
    }
    text
}

fn parse_record(text: &str) -> Result<Vec<Capability>, String> {
    let mut found = Vec::new();
    for line in text.lines() {
        let name = line.split('#').next().unwrap_or("").trim();
        if name.is_empty() {
            continue;
        }
        let named = Capability::named(name);
        if named.is_empty() {
            return Err(format!("{name:?} is not a capability ({})", names()));
        }
        found.extend(named);
    }
    Ok(found)
}

fn names() -> String {
    Capability::ALL.map(Capability::name).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn required(items: &[&str]) -> Result<Vec<Capability>, String> {
        let items: Vec<String> = items.iter().map(|&item| item.to_owned()).collect();
        Demands::parse_required(&items, |path| match path {
            "ours.txt" => Ok("# a server\nchat # and its API\n\neio3/polling\n".to_owned()),
            "old.txt" => Ok("chat\nrecovery\n".to_owned()),
            _ => Err("no such file".to_owned()),
        })
    }

    #[test]
    fn names_groups_and_files_are_required() {
        use Capability::{Chat, Eio3Polling, Eio3Websocket, Eio4Websocket};
        assert_eq!(required(&["none"]), Ok(vec![]));
        assert_eq!(required(&["chat", "chat"]), Ok(vec![Chat]));
        assert_eq!(required(&["eio3"]), Ok(vec![Eio3Websocket, Eio3Polling]));
        assert_eq!(required(&["websocket"]), Ok(vec![Eio4Websocket, Eio3Websocket]));
        assert_eq!(required(&["ours.txt"]), Ok(vec![Eio3Polling, Chat]));
    }

    #[test]
    fn what_is_neither_a_name_nor_a_file_is_named() {
        let unknown = required(&["chta"]).expect_err("a typo");
        assert!(unknown.contains("chta") && unknown.contains("eio4/websocket"), "{unknown}");
        let old = required(&["old.txt"]).expect_err("of another version");
        assert!(old.contains("old.txt") && old.contains("recovery"), "{old}");
    }

    #[test]
    fn what_is_recorded_is_what_is_there() {
        let capabilities = Capabilities { chat: true, eio4_polling: true, ..Default::default() };
        let recorded = record("http://127.0.0.1:1", &capabilities);
        assert_eq!(parse_record(&recorded), Ok(vec![Capability::Eio4Polling, Capability::Chat]));
    }
}
