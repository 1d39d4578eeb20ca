//! Fills tables of settings from what file, environment and flags say together. Nothing stops at the
//! first fault: the operator sees all of them at once.

use figment::Figment;
use figment::value::{Dict, Value};
use throng_tables::settings::{Kind, Raw, Row, Setting};

/// One thing that is wrong, in words for the operator.
pub type ConfigFault = String;

/// A setting as it was understood.
#[derive(Clone, Debug)]
pub struct Shown {
    pub setting: &'static Setting,
    pub key: String,
    /// Without secrets.
    pub value: String,
    /// `default`, a file, an environment variable or `command line`.
    pub origin: String,
}

impl Shown {
    /// The value with its unit.
    pub fn value_and_unit(&self) -> String {
        let is_text = self.setting.default == Some(self.value.as_str());
        match self.setting.unit {
            unit if !unit.is_empty() && !is_text => format!("{} {unit}", self.value),
            _ => self.value.clone(),
        }
    }
}

pub struct Reader {
    figment: Figment,
    pub faults: Vec<ConfigFault>,
    pub shown: Vec<Shown>,
}

impl Reader {
    pub fn new(figment: Figment) -> Reader {
        let mut faults = Vec::new();
        // A file that is no TOML fails here, once, instead of at each key.
        let figment = match figment.extract::<Dict>() {
            Ok(_) => figment,
            Err(error) => {
                faults.push(error.to_string());
                Figment::new()
            }
        };
        Reader { figment, faults, shown: Vec::new() }
    }

    /// The defaults of `T` with what the operator wrote of them.
    pub fn read<T: Default>(&mut self, rows: &'static [Row<T>]) -> T {
        let mut table = T::default();
        for row in rows {
            let key = row.setting.key();
            let origin = self.origin(&key);
            let found = self.figment.find_value(&key).ok().map(|value| raw(&value));
            if let Some(raw) = &found
                && !(row.set)(&mut table, raw)
            {
                let allowed = (row.setting.allowed)();
                let kind =
                    if row.setting.kind == Kind::Number { "a whole number from " } else { "" };
                let wrong = (row.show_wrong)(raw);
                self.faults
                    .push(format!("{key} ({origin}): expected {kind}{allowed}, found {wrong}"));
            }
            let value = match (row.setting.default, &found) {
                (Some(text), None) => text.to_owned(),
                _ => (row.show)(&table),
            };
            self.shown.push(Shown { setting: &row.setting, key, value, origin });
        }
        table
    }

    /// Whether the operator wrote anything about it.
    pub fn is_given(&self, key: &str) -> bool {
        self.figment.find_value(key).is_ok()
    }

    /// Adds a fault that concerns several settings.
    pub fn fault(&mut self, is_wrong: bool, fault: impl FnOnce() -> String) {
        if is_wrong {
            self.faults.push(fault());
        }
    }

    /// Adds a fault for each key that no table has. Call it last.
    pub fn check_unknown(&mut self) {
        let Ok(all) = self.figment.extract::<Dict>() else { return };
        let mut given = Vec::new();
        flatten("", &all, &mut given);
        for key in given {
            if self.shown.iter().any(|shown| shown.key == key) {
                continue;
            }
            let hint = closest(&key, &self.shown)
                .map_or_else(String::new, |known| format!("; did you mean `{}`?", known.key));
            self.faults.push(format!("{key} ({}): unknown setting{hint}", self.origin(&key)));
        }
    }

    fn origin(&self, key: &str) -> String {
        let Some(metadata) = self.figment.find_metadata(key) else { return "default".into() };
        if let Some(file) = metadata.source.as_ref().and_then(|source| source.file_path()) {
            return file.display().to_string();
        }
        if metadata.name == "environment" {
            return format!("THRONG_{}", key.to_uppercase().replace('.', "__"));
        }
        metadata.name.to_string()
    }
}

fn flatten(prefix: &str, dict: &Dict, into: &mut Vec<String>) {
    for (name, value) in dict {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            Value::Dict(_, inner) if !inner.is_empty() => flatten(&key, inner, into),
            _ => into.push(key),
        }
    }
}

/// The value in the words of the tables.
fn raw(value: &Value) -> Raw {
    match value {
        Value::String(_, text) => Raw::Text(text.clone()),
        Value::Bool(_, value) => Raw::Switch(*value),
        Value::Array(_, items) => Raw::List(items.iter().map(raw).collect()),
        Value::Dict(_, entries) => {
            Raw::Table(entries.iter().map(|(name, value)| (name.clone(), raw(value))).collect())
        }
        number => match (whole(number), number.to_num().and_then(|number| number.to_f64())) {
            (Some(number), _) => Raw::Number(number),
            (None, Some(number)) => Raw::Other(number.to_string()),
            (None, None) => Raw::Other("nothing".into()),
        },
    }
}

/// Signed or not, whatever the source made of it.
fn whole(value: &Value) -> Option<i128> {
    value.to_i128().or_else(|| value.to_u128().and_then(|number| i128::try_from(number).ok()))
}

/// The setting that someone who wrote `key` may have meant.
pub fn closest<'a>(key: &str, known: &'a [Shown]) -> Option<&'a Shown> {
    let candidates = known.iter().map(|shown| (distance(&shown.key, key), shown));
    let (distance, shown) = candidates.min_by_key(|(distance, shown)| (*distance, &shown.key))?;
    (distance <= key.len().div_ceil(3).max(2)).then_some(shown)
}

/// Edits that turn one key into the other.
fn distance(one: &str, other: &str) -> usize {
    strsim::damerau_levenshtein(one, other)
}
