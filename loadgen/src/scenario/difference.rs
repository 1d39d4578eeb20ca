//! Whether two scenarios describe the same load.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Scenario;

/// Keys that say where a load runs and how it is judged, not what it is.
pub const NOT_OF_THE_LOAD: [&str; 15] = [
    "name",
    "targets",
    "seed",
    "cores",
    "sources",
    "users.tokens",
    "users.jwt_secret_file",
    "access.ca",
    "access.insecure",
    "access.pusher_secret_file",
    "server_pid",
    "server_metrics",
    "server_deliveries_metric",
    "slo",
    "distrust",
];

/// Keys in which the processes of one run may differ as well.
pub const OF_ONE_PART: [&str; 3] = ["threads", "first_room", "users"];

/// The keys in which two scenarios differ, as `key (one, other)`; those that start with an ignored one
/// aside.
#[must_use]
pub fn differences(a: &Scenario, b: &Scenario, ignored: &[&str]) -> Vec<String> {
    let (a, b) = (flat(a), flat(b));
    let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let is_ignored = |key: &str| {
        ignored.iter().any(|ignored| {
            key.strip_prefix(ignored).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    };
    let shown = |value: Option<&Value>| value.map_or("none".to_owned(), Value::to_string);
    keys.into_iter()
        .filter(|key| !is_ignored(key) && a.get(*key) != b.get(*key))
        .map(|key| format!("{key} ({}, {})", shown(a.get(key)), shown(b.get(key))))
        .collect()
}

fn flat(scenario: &Scenario) -> BTreeMap<String, Value> {
    let mut flat = BTreeMap::new();
    flatten(String::new(), &serde_json::to_value(scenario).unwrap_or_default(), &mut flat);
    flat
}

fn flatten(path: String, value: &Value, flat: &mut BTreeMap<String, Value>) {
    let Value::Object(fields) = value else {
        flat.insert(path, value.clone());
        return;
    };
    for (key, value) in fields {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        flatten(path, value, flat);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_the_load_differ_and_others_are_ignored() {
        let a = Scenario::default();
        let mut b = Scenario { clients: 7, seed: 9, name: "other".into(), ..Scenario::default() };
        b.load.rate = 20.0;
        b.users.tokens = Some("tokens".into());
        let differ = differences(&a, &b, &NOT_OF_THE_LOAD);
        assert_eq!(differ, ["clients (100, 7)", "load.rate (10.0, 20.0)"]);
        assert!(differences(&a, &a.clone(), &[]).is_empty());
    }
}
