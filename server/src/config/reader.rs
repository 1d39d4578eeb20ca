//! Reads settings one by one out of what file, environment and flags say together. Nothing stops at
//! the first fault: the operator sees all of them at once.

use std::fmt::Display;
use std::ops::RangeInclusive;

use figment::Figment;
use figment::value::{Dict, Value};

/// One thing that is wrong, in words for the operator.
pub type Fault = String;

/// A setting as it was understood.
#[derive(Clone, Debug)]
pub struct Shown {
    pub key: &'static str,
    pub value: String,
    pub unit: &'static str,
    pub allowed: String,
    pub origin: String,
}

pub struct Reader {
    figment: Figment,
    pub faults: Vec<Fault>,
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

    pub fn number<T>(
        &mut self,
        key: &'static str,
        unit: &'static str,
        default: T,
        range: RangeInclusive<T>,
    ) -> T
    where
        T: Copy + PartialOrd + Display + TryFrom<i128>,
    {
        let allowed = format!("{} to {}", range.start(), range.end());
        let parsed = self.find(key).map(|value| {
            let number = whole(&value).and_then(|number| T::try_from(number).ok());
            number.filter(|number| range.contains(number)).ok_or_else(|| written(&value))
        });
        let value = self.settle(key, parsed, &format!("a whole number from {allowed}"), default);
        self.show(key, value.to_string(), unit, allowed);
        value
    }

    pub fn flag(&mut self, key: &'static str, default: bool) -> bool {
        let parsed = self.find(key).map(|value| value.to_bool().ok_or_else(|| written(&value)));
        let value = self.settle(key, parsed, "true or false", default);
        self.show(key, value.to_string(), "", "true, false".into());
        value
    }

    /// `parse` answers `None` for what is not `allowed`.
    pub fn text<T>(
        &mut self,
        key: &'static str,
        default: &str,
        allowed: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> T {
        let found = self.find(key);
        let parsed = found
            .as_ref()
            .map(|value| value.as_str().and_then(&parse).ok_or_else(|| written(value)));
        let by_default = parse(default).expect("the default is allowed");
        let shown = found.as_ref().and_then(Value::as_str).unwrap_or(default).to_owned();
        let value = self.settle(key, parsed, allowed, by_default);
        self.show(key, shown, "", allowed.to_owned());
        value
    }

    /// A setting that may be absent.
    pub fn optional<T>(
        &mut self,
        key: &'static str,
        absent: &str,
        allowed: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let found = self.find(key);
        let parsed = found
            .as_ref()
            .map(|value| value.as_str().and_then(&parse).map(Some).ok_or_else(|| written(value)));
        let shown = found.as_ref().and_then(Value::as_str).unwrap_or(absent).to_owned();
        let value = self.settle(key, parsed, allowed, None);
        self.show(key, shown, "", allowed.to_owned());
        value
    }

    /// A setting that may be absent and may hold a password: `show` says how it may be seen, right
    /// or wrong.
    pub fn secret<T>(
        &mut self,
        key: &'static str,
        absent: &str,
        allowed: &str,
        parse: impl Fn(&str) -> Option<T>,
        show: impl Fn(&str) -> String,
    ) -> Option<T> {
        let found = self.find(key);
        let shown = match &found {
            None => absent.to_owned(),
            Some(value) => value.as_str().map_or_else(|| "no text".into(), show),
        };
        let parsed = found
            .map(|value| value.as_str().and_then(&parse).map(Some).ok_or_else(|| shown.clone()));
        let value = self.settle(key, parsed, allowed, None);
        self.show(key, shown, "", allowed.to_owned());
        value
    }

    pub fn list<T>(
        &mut self,
        key: &'static str,
        default: Vec<T>,
        allowed: &str,
        parse: impl Fn(&Value) -> Option<T>,
        name: impl Fn(&T) -> String,
    ) -> Vec<T> {
        let parsed = self.find(key).map(|value| {
            let items = value.as_array().map(|items| items.iter().map(&parse).collect());
            items.flatten().ok_or_else(|| written(&value))
        });
        let value = self.settle(key, parsed, &format!("a list of {allowed}"), default);
        let shown: Vec<String> = value.iter().map(name).collect();
        self.show(key, format!("[{}]", shown.join(", ")), "", allowed.to_owned());
        value
    }

    /// Adds a fault that concerns several settings.
    pub fn fault(&mut self, is_wrong: bool, fault: impl FnOnce() -> String) {
        if is_wrong {
            self.faults.push(fault());
        }
    }

    /// Adds a fault for each key nobody asked for. Call it last.
    pub fn check_unknown(&mut self) {
        let Ok(all) = self.figment.extract::<Dict>() else { return };
        let mut given = Vec::new();
        flatten("", &all, &mut given);
        for key in given {
            if self.shown.iter().any(|shown| shown.key == key) {
                continue;
            }
            let best = self
                .shown
                .iter()
                .map(|shown| (distance(shown.key, &key), shown.key))
                .min()
                .filter(|(distance, _)| *distance <= key.len().div_ceil(3).max(2));
            let hint =
                best.map_or_else(String::new, |(_, known)| format!("; did you mean `{known}`?"));
            self.faults
                .push(format!("{key} ({}): there is no such setting{hint}", self.origin(&key)));
        }
    }

    fn find(&self, key: &str) -> Option<Value> {
        self.figment.find_value(key).ok()
    }

    fn settle<T>(
        &mut self,
        key: &str,
        parsed: Option<Result<T, String>>,
        expected: &str,
        default: T,
    ) -> T {
        match parsed {
            None => default,
            Some(Ok(value)) => value,
            Some(Err(found)) => {
                let origin = self.origin(key);
                self.faults.push(format!("{key} ({origin}): expected {expected}, found {found}"));
                default
            }
        }
    }

    fn show(&mut self, key: &'static str, value: String, unit: &'static str, allowed: String) {
        let origin = self.origin(key);
        self.shown.push(Shown { key, value, unit, allowed, origin });
    }

    fn origin(&self, key: &str) -> String {
        let Some(metadata) = self.figment.find_metadata(key) else { return "default".into() };
        if let Some(file) = metadata.source.as_ref().and_then(|source| source.file_path()) {
            return file.display().to_string();
        }
        if metadata.name.contains("environment") {
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

/// The value as the operator wrote it, near enough.
fn written(value: &Value) -> String {
    match value {
        Value::String(_, text) => format!("\"{text}\""),
        Value::Bool(_, value) => value.to_string(),
        Value::Array(..) => "a list".into(),
        Value::Dict(..) => "a table".into(),
        number => match (whole(number), number.to_num().and_then(|number| number.to_f64())) {
            (Some(number), _) => number.to_string(),
            (None, Some(number)) => number.to_string(),
            (None, None) => "nothing".into(),
        },
    }
}

/// Signed or not, whatever the source made of it.
pub fn whole(value: &Value) -> Option<i128> {
    value.to_i128().or_else(|| value.to_u128().and_then(|number| i128::try_from(number).ok()))
}

/// Edits that turn one key into the other.
fn distance(one: &str, other: &str) -> usize {
    strsim::damerau_levenshtein(one, other)
}
