//! Metrics: a family per name, a series per set of labels, a field per series.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a scraper may assume about the values of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; 0 at the start of the process. Its exported name ends in `_total`.
    Counter,
    /// A level: rises and falls.
    Gauge,
    /// Counts of observations by size.
    Histogram,
}

impl Kind {
    /// The word of Prometheus.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// Names and values of the labels of one series.
pub type Labels = &'static [(&'static str, &'static str)];

/// The series of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Series {
    /// Known when the program is built: one set of labels for each.
    Fixed(&'static [Labels]),
    /// Made by what happens; these are the names of the labels.
    Dynamic(&'static [&'static str]),
}

/// One name in `/metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// Without the prefix `throng_` and the suffix `_total`.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// What one unit of the value is: `bytes`, `sessions`.
    pub unit: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// All series of this name.
    pub series: Series,
}

impl Family {
    /// The name as scraped.
    #[must_use]
    pub fn exported(&self) -> String {
        let suffix = if self.kind == Kind::Counter { "_total" } else { "" };
        format!("throng_{}{suffix}", self.name)
    }

    /// The names of the labels.
    #[must_use]
    pub fn labels(&self) -> Vec<&'static str> {
        match self.series {
            Series::Fixed(series) => {
                let first = series.first().copied().unwrap_or_default();
                first.iter().map(|(label, _)| *label).collect()
            }
            Series::Dynamic(labels) => labels.to_vec(),
        }
    }
}

/// What holds the value of one series: a `u64` of one thread, or an atomic of several.
pub trait Cell {
    /// The value now.
    fn read(&self) -> u64;
}

impl Cell for u64 {
    fn read(&self) -> u64 {
        *self
    }
}

impl Cell for AtomicU64 {
    fn read(&self) -> u64 {
        self.load(Ordering::Relaxed)
    }
}

/// A struct that [`metrics!`](crate::metrics!) has declared.
pub trait Table {
    /// The fields, in the order of [`Table::read`].
    const NAMES: &'static [&'static str];
    /// The families; their series are in the order of [`Table::read`].
    const FAMILIES: &'static [Family];

    /// Calls `each` with every value.
    fn read(&self, each: impl FnMut(u64));

    /// All values.
    fn values(&self) -> Vec<u64> {
        let mut values = Vec::with_capacity(Self::NAMES.len());
        self.read(|value| values.push(value));
        values
    }

    /// The value of one field.
    fn value(&self, name: &str) -> Option<u64> {
        let index = Self::NAMES.iter().position(|known| *known == name)?;
        Some(self.values()[index])
    }
}

/// For what counts nothing.
impl Table for () {
    const NAMES: &'static [&'static str] = &[];
    const FAMILIES: &'static [Family] = &[];

    fn read(&self, _each: impl FnMut(u64)) {}
}

/// Declares a struct of counters and gauges, and what `/metrics` says of them.
///
/// The struct is followed by the type of its fields and by what all names begin with. First come the
/// families of one series, whose name is the field; then, after `[labelled]`, those of several, with a
/// field and labels for each. Between the quotes stand the unit and the help text.
///
/// ```
/// throng_tables::metrics! {
///     /// What a kitchen counts.
///     #[derive(Default)]
///     pub struct Kitchen: u64, "kitchen_";
///
///     Counter meals "meals": "Meals served.";
///     Gauge guests "guests": "Guests at the tables.";
///
///     [labelled]
///     Counter refusals "guests": "Guests sent away, by reason." {
///         refused_full: reason = "full";
///         refused_late: reason = "late";
///     }
/// }
///
/// use throng_tables::metrics::Table;
///
/// let kitchen = Kitchen { meals: 3, refused_late: 1, ..Kitchen::default() };
/// assert_eq!(Kitchen::NAMES, ["meals", "guests", "refused_full", "refused_late"]);
/// assert_eq!(kitchen.values(), [3, 0, 0, 1]);
/// assert_eq!(Kitchen::FAMILIES[2].exported(), "throng_kitchen_refusals_total");
/// ```
#[macro_export]
macro_rules! metrics {
    (
        $(#[$meta:meta])*
        $vis:vis struct $table:ident: $cell:ty, $prefix:literal;

        $($kind:ident $name:ident $unit:literal: $help:literal;)*

        $([labelled]
        $($kinds:ident $family:ident $units:literal: $helps:literal {
            $($field:ident: $($label:ident = $value:expr),+;)+
        })+)?
    ) => {
        $(#[$meta])*
        $vis struct $table {
            $(#[doc = $help] pub $name: $cell,)*
            $($($(#[doc = $helps] pub $field: $cell,)+)+)?
        }

        impl $crate::metrics::Table for $table {
            const NAMES: &'static [&'static str] = &[
                $(stringify!($name),)*
                $($($(stringify!($field),)+)+)?
            ];

            const FAMILIES: &'static [$crate::metrics::Family] = &[
                $($crate::metrics::Family {
                    name: concat!($prefix, stringify!($name)),
                    kind: $crate::metrics::Kind::$kind,
                    unit: $unit,
                    help: $help,
                    series: $crate::metrics::Series::Fixed(&[&[]]),
                },)*
                $($($crate::metrics::Family {
                    name: concat!($prefix, stringify!($family)),
                    kind: $crate::metrics::Kind::$kinds,
                    unit: $units,
                    help: $helps,
                    series: $crate::metrics::Series::Fixed(&[
                        $(&[$((stringify!($label), $value)),+]),+
                    ]),
                },)+)?
            ];

            fn read(&self, mut each: impl FnMut(u64)) {
                $(each($crate::metrics::Cell::read(&self.$name));)*
                $($($(each($crate::metrics::Cell::read(&self.$field));)+)+)?
            }
        }
    };
}
