//! Settings: a field, a key, an environment variable and a flag of one name.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// A value as the operator wrote it, in a file, the environment or a flag.
#[derive(Clone, Debug, PartialEq)]
pub enum Raw {
    /// `true` or `false`.
    Switch(bool),
    /// A whole number.
    Number(i128),
    /// Anything else that is one value.
    Text(String),
    /// `[a, b]`.
    List(Vec<Raw>),
    /// `{ name = value }`.
    Table(BTreeMap<String, Raw>),
    /// A date, a fraction, nothing: no setting has such a value.
    Other(String),
}

/// How a flag takes its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `--flag N`.
    Number,
    /// `--flag`, `--flag=false`.
    Switch,
    /// `--flag TEXT`.
    Text,
    /// `--flag '["a", "b"]'`.
    List,
}

/// The declaration of a setting, without its type.
#[derive(Debug)]
pub struct Setting {
    /// The table of the file; empty at its top.
    pub section: &'static str,
    /// The field.
    pub name: &'static str,
    /// What it does, in sentences.
    pub description: &'static str,
    /// `ms`, `bytes`; empty for what has no unit.
    pub unit: &'static str,
    /// How a flag takes its value.
    pub kind: Kind,
    /// What may be written.
    pub allowed: fn() -> String,
    /// How the default is shown where its value depends on the machine or on other settings.
    pub default: Option<&'static str>,
}

impl Setting {
    /// In a file: `limits.publish_per_s`.
    #[must_use]
    pub fn key(&self) -> String {
        match self.section {
            "" => self.name.to_owned(),
            section => format!("{section}.{}", self.name),
        }
    }

    /// On the command line, without its dashes: `limits-publish-per-s`.
    #[must_use]
    pub fn flag(&self) -> String {
        self.key().replace(['.', '_'], "-")
    }

    /// In the environment: `THRONG_LIMITS__PUBLISH_PER_S`.
    #[must_use]
    pub fn environment(&self) -> String {
        format!("THRONG_{}", self.key().to_uppercase().replace('.', "__"))
    }
}

/// One setting of the struct `T`.
pub struct Row<T> {
    /// All that does not depend on `T`.
    pub setting: Setting,
    /// Sets the field; false when the value is not allowed, and then nothing changes.
    pub set: fn(&mut T, &Raw) -> bool,
    /// The value of the field, without secrets.
    pub show: fn(&T) -> String,
    /// A value that is not allowed, as a fault may repeat it.
    pub show_wrong: fn(&Raw) -> String,
}

/// A type that a setting may have.
pub trait Value: Sized {
    /// What limits a value: a range for numbers, `()` for all else.
    type Bounds;
    /// How a flag takes it.
    const KIND: Kind;

    /// What may be written, for faults, `--help` and docs.
    fn allowed(bounds: &Self::Bounds) -> String;

    /// `None` for what is not allowed.
    fn read(raw: &Raw, bounds: &Self::Bounds) -> Option<Self>;

    /// As the operator would write it, without secrets.
    fn show(&self) -> String;

    /// A wrong value as a fault may repeat it.
    #[must_use]
    fn show_wrong(raw: &Raw) -> String {
        raw.written()
    }
}

impl Raw {
    /// As the operator wrote it, near enough for a fault.
    #[must_use]
    pub fn written(&self) -> String {
        match self {
            Raw::Switch(value) => value.to_string(),
            Raw::Number(number) => number.to_string(),
            Raw::Text(text) => format!("\"{text}\""),
            Raw::List(items) => {
                let items: Vec<String> = items.iter().map(Raw::written).collect();
                format!("[{}]", items.join(", "))
            }
            Raw::Table(entries) => {
                let entry =
                    |(name, value): (&String, &Raw)| format!("{name} = {}", value.written());
                let entries: Vec<String> = entries.iter().map(entry).collect();
                format!("{{ {} }}", entries.join(", "))
            }
            Raw::Other(text) => text.clone(),
        }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Raw::Text(text) => Some(text),
            Raw::Switch(_) | Raw::Number(_) | Raw::List(_) | Raw::Table(_) | Raw::Other(_) => None,
        }
    }
}

macro_rules! numbers {
    ($($number:ty)*) => {$(
        impl Value for $number {
            type Bounds = RangeInclusive<$number>;
            const KIND: Kind = Kind::Number;

            fn allowed(range: &Self::Bounds) -> String {
                format!("{} to {}", range.start(), range.end())
            }

            fn read(raw: &Raw, range: &Self::Bounds) -> Option<Self> {
                let Raw::Number(number) = raw else { return None };
                <$number>::try_from(*number).ok().filter(|number| range.contains(number))
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

numbers!(u8 u16 u32 u64 usize);

impl Value for bool {
    type Bounds = ();
    const KIND: Kind = Kind::Switch;

    fn allowed((): &()) -> String {
        "true or false".to_owned()
    }

    fn read(raw: &Raw, (): &()) -> Option<bool> {
        let Raw::Switch(value) = raw else { return None };
        Some(*value)
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for String {
    type Bounds = ();
    const KIND: Kind = Kind::Text;

    fn allowed((): &()) -> String {
        "a text".to_owned()
    }

    fn read(raw: &Raw, (): &()) -> Option<String> {
        raw.text().filter(|text| !text.is_empty()).map(str::to_owned)
    }

    fn show(&self) -> String {
        self.clone()
    }
}

impl Value for PathBuf {
    type Bounds = ();
    const KIND: Kind = Kind::Text;

    fn allowed((): &()) -> String {
        "a path".to_owned()
    }

    fn read(raw: &Raw, (): &()) -> Option<PathBuf> {
        raw.text().filter(|text| !text.is_empty()).map(PathBuf::from)
    }

    fn show(&self) -> String {
        self.display().to_string()
    }
}

fn parsed<T: std::str::FromStr>(raw: &Raw) -> Option<T> {
    raw.text()?.parse().ok()
}

macro_rules! parsed {
    ($($type:ty: $allowed:literal)*) => {$(
        impl Value for $type {
            type Bounds = ();
            const KIND: Kind = Kind::Text;

            fn allowed((): &()) -> String {
                $allowed.to_owned()
            }

            fn read(raw: &Raw, (): &()) -> Option<Self> {
                parsed(raw)
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

parsed! {
    IpAddr: "IP addresses"
    SocketAddr: "ADDRESS:PORT"
}

/// A setting without a default value.
impl<T: Value<Bounds = ()>> Value for Option<T> {
    type Bounds = ();
    const KIND: Kind = T::KIND;

    fn allowed((): &()) -> String {
        T::allowed(&())
    }

    fn read(raw: &Raw, (): &()) -> Option<Option<T>> {
        T::read(raw, &()).map(Some)
    }

    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "none".to_owned(), T::show)
    }

    fn show_wrong(raw: &Raw) -> String {
        T::show_wrong(raw)
    }
}

impl<T: Value<Bounds = ()>> Value for Vec<T> {
    type Bounds = ();
    const KIND: Kind = Kind::List;

    fn allowed((): &()) -> String {
        format!("a list of {}", T::allowed(&()))
    }

    fn read(raw: &Raw, (): &()) -> Option<Vec<T>> {
        let Raw::List(items) = raw else { return None };
        items.iter().map(|item| T::read(item, &())).collect()
    }

    fn show(&self) -> String {
        let shown: Vec<String> = self.iter().map(T::show).collect();
        format!("[{}]", shown.join(", "))
    }

    /// The wrong ones of a list.
    fn show_wrong(raw: &Raw) -> String {
        let Raw::List(items) = raw else { return T::show_wrong(raw) };
        let wrong = items.iter().filter(|item| T::read(item, &()).is_none());
        wrong.map(T::show_wrong).collect::<Vec<_>>().join(", ")
    }
}

/// `a, b or c`.
#[must_use]
pub fn alternatives(words: &[impl Display]) -> String {
    let mut text = String::new();
    for (index, word) in words.iter().enumerate() {
        let separator = match index {
            0 => "",
            _ if index + 1 == words.len() => " or ",
            _ => ", ",
        };
        text.push_str(separator);
        text.push_str(&word.to_string());
    }
    text
}

/// Declares a struct of settings, its defaults and the table of its rows.
///
/// A row is a field with its default, followed by unit and range if it is a number, and by the text
/// that stands for the default where that depends on the machine (`=> "one per core"`). Its comment
/// is its description, to which the field's documentation adds default, unit and range. `["limits"]`
/// begins a table of the file, as `[limits]` does there; `[""]` is the top of the file. Fields after
/// `fixed` cannot be set by the operator.
///
/// ```
/// throng_tables::settings! {
///     /// What the cook must know.
///     #[derive(Debug)]
///     pub struct Kitchen;
///
///     [""]
///     /// Name of the kitchen.
///     name: String = "Throng".to_owned();
///     ["oven"]
///     /// Temperature at the start.
///     heat_c: u16 = 180, "degrees", 50..=300;
///
///     fixed
///     /// Counted by the architect.
///     windows: u8 = 2;
/// }
/// use throng_tables::settings::Raw;
///
/// let mut kitchen = Kitchen::default();
/// let row = &Kitchen::rows()[1];
/// assert_eq!(row.setting.key(), "oven.heat_c");
/// assert_eq!(row.setting.environment(), "THRONG_OVEN__HEAT_C");
/// assert!(!(row.set)(&mut kitchen, &Raw::Number(301)));
/// assert!((row.set)(&mut kitchen, &Raw::Number(220)));
/// assert_eq!((kitchen.heat_c, kitchen.windows), (220, 2));
/// ```
#[macro_export]
macro_rules! settings {
    (@bounds) => { () };
    (@bounds $range:expr) => { $range };
    (@text) => { None };
    (@text $text:literal) => { Some($text) };
    (@default $default:expr) => { concat!("`", stringify!($default), "`") };
    (@default $default:expr => $shown:literal) => { $shown };
    (@unit) => { "" };
    (@unit $unit:literal) => { $unit };
    (
        $(#[$meta:meta])*
        $vis:vis struct $table:ident;

        $(
            [$section:literal]
            $(
                $(#[doc = $doc:literal])+
                $name:ident: $type:ty = $default:expr $(, $unit:literal, $range:expr)?
                    $(=> $shown:literal)?;
            )+
        )+

        $(fixed $($(#[doc = $note:literal])* $field:ident: $kind:ty = $value:expr;)+)?
    ) => {
        $(#[$meta])*
        $vis struct $table {
            $($(
                $(#[doc = $doc])+
                #[doc = ""]
                #[doc = concat!(
                    "Default: ",
                    $crate::settings!(@default $default $(=> $shown)?),
                    $(" ", $unit, ", of `", stringify!($range), "`",)?
                    "."
                )]
                pub $name: $type,
            )+)+
            $($(
                $(#[doc = $note])*
                #[doc = ""]
                #[doc = concat!("Default: `", stringify!($value), "`.")]
                pub $field: $kind,
            )+)?
        }

        impl Default for $table {
            fn default() -> Self {
                Self {
                    $($($name: $default,)+)+
                    $($($field: $value,)+)?
                }
            }
        }

        impl $table {
            /// The table: what the operator may set.
            #[must_use]
            pub fn rows() -> &'static [$crate::settings::Row<Self>] {
                use $crate::settings::{Row, Setting, Value};
                const ROWS: &[Row<$table>] = &[$($(
                    Row {
                        setting: Setting {
                            section: $section,
                            name: stringify!($name),
                            description: concat!($($doc),+),
                            unit: $crate::settings!(@unit $($unit)?),
                            kind: <$type as Value>::KIND,
                            allowed: || {
                                <$type as Value>::allowed(&$crate::settings!(@bounds $($range)?))
                            },
                            default: $crate::settings!(@text $($shown)?),
                        },
                        set: |table, raw| {
                            let bounds = &$crate::settings!(@bounds $($range)?);
                            match <$type as Value>::read(raw, bounds) {
                                Some(value) => {
                                    table.$name = value;
                                    true
                                }
                                None => false,
                            }
                        },
                        show: |table| Value::show(&table.$name),
                        show_wrong: <$type as Value>::show_wrong,
                    },
                )+)+];
                ROWS
            }
        }
    };
}

/// Declares an enum of which the operator chooses one by its name.
///
/// ```
/// throng_tables::choices! {
///     /// How meals are paid.
///     #[derive(Clone, Copy, Debug, PartialEq, Eq)]
///     pub enum Payment {
///         Cash = "cash",
///         /// All but one kind.
///         Card = "card",
///     }
/// }
/// assert_eq!("card".parse(), Ok(Payment::Card));
/// assert_eq!("gold".parse::<Payment>(), Err("expected cash or card".to_owned()));
/// ```
#[macro_export]
macro_rules! choices {
    (
        $(#[$meta:meta])*
        $vis:vis enum $choice:ident {
            $($(#[$note:meta])* $variant:ident = $name:literal),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        $vis enum $choice {
            $($(#[$note])* $variant),+
        }

        impl $choice {
            /// The name of the choice in files and flags.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self {
                    $($choice::$variant => $name),+
                }
            }
        }

        impl std::str::FromStr for $choice {
            type Err = String;

            fn from_str(name: &str) -> Result<$choice, String> {
                match name {
                    $($name => Ok($choice::$variant),)+
                    _ => Err(format!(
                        "expected {}",
                        $crate::settings::alternatives(&[$($name),+])
                    )),
                }
            }
        }

        impl $crate::settings::Value for $choice {
            type Bounds = ();
            const KIND: $crate::settings::Kind = $crate::settings::Kind::Text;

            fn allowed((): &()) -> String {
                $crate::settings::alternatives(&[$($name),+])
            }

            fn read(raw: &$crate::settings::Raw, (): &()) -> Option<Self> {
                raw.text()?.parse().ok()
            }

            fn show(&self) -> String {
                self.name().to_owned()
            }
        }
    };
}
