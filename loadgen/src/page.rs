//! The frame of every page: self-contained, light and dark, for phones and desktops.

use std::time::{Duration, UNIX_EPOCH};

use crate::scenario::{Mode, Scenario};
use crate::table::{Table, escape, number};

const STYLE: &str = "\
:root{color-scheme:light dark;--text:#1f2937;--page:#fff;--soft:#f3f4f6;--line:#d1d5db;--bad:#fee2e2;\
--good:#dcfce7}\
@media(prefers-color-scheme:dark){:root{--text:#e5e7eb;--page:#111827;--soft:#1f2937;--line:#374151;\
--bad:#450a0a;--good:#052e16}}\
body{font:15px/1.5 system-ui,sans-serif;max-width:1000px;margin:1.5rem auto;padding:0 1rem;\
color:var(--text);background:var(--page);overflow-wrap:anywhere}\
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}\
pre{background:var(--soft);padding:1rem;overflow-x:auto;border-radius:6px;font-size:12.5px;\
overflow-wrap:normal}\
.void,.ok{padding:.6rem 1rem}.void{background:var(--bad);border-left:4px solid #dc2626}\
.ok{background:var(--good);border-left:4px solid #059669}\
.scrolls{overflow-x:auto}table{border-collapse:collapse;font-size:13.5px}\
th,td{padding:.25rem .6rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap;\
font-variant-numeric:tabular-nums}\
th:first-child,td:first-child{text-align:left}\
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem;margin:1rem 0}\
dt{opacity:.75}dd{margin:0}svg{display:block;width:100%;height:auto;margin:1rem 0}\
.narrow{display:none}@media(max-width:640px){.wide{display:none}.narrow{display:block}}";

/// A page with this title, as plain text, and this body, as HTML.
#[must_use]
pub fn frame(title: &str, body: &str) -> String {
    let title = escape(title);
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{title}</title><style>{STYLE}</style></head>\n<body><h1>{title}</h1>\n{body}</body></html>\n"
    )
}

/// A list of names and what stands for them, as plain text.
#[must_use]
pub fn facts(facts: &[(&str, String)]) -> String {
    let one = |(name, value): &(&str, String)| {
        format!("<dt>{}</dt><dd>{}</dd>", escape(name), escape(value))
    };
    format!("<dl>{}</dl>\n", facts.iter().map(one).collect::<String>())
}

/// A table below its title.
#[must_use]
pub fn section(title: &str, table: &Table) -> String {
    format!("<h2>{}</h2>{}\n", escape(title), table.html())
}

/// How fast is published, in words.
#[must_use]
pub fn rate(scenario: &Scenario) -> String {
    match scenario.load.mode {
        Mode::Closed => format!("closed loop, {} in flight each", scenario.load.outstanding),
        Mode::Open => format!("{} messages/s", number(scenario.base_rate())),
    }
}

/// What was run at this rate, in words.
#[must_use]
pub fn load(scenario: &Scenario, rate: &str) -> String {
    format!(
        "{} clients in {} rooms, {} publishers, {rate}, {} s ({} s warm-up), {}, {}",
        scenario.clients,
        scenario.rooms,
        scenario.publishers,
        scenario.total_s(),
        scenario.warmup_s,
        name(&scenario.protocol),
        name(&scenario.transport)
    )
}

fn name(of: &impl serde::Serialize) -> String {
    match serde_json::to_value(of) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}

/// Date and time in UTC.
#[must_use]
pub fn date(unix_s: u64) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(unix_s.min(LAST_DATE_S)))
}

/// The end of the year 9999: later dates have no text.
const LAST_DATE_S: u64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_texts_are_written_as_html_has_them() {
        assert_eq!(date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert!(date(u64::MAX).contains("9999"));
        assert!(frame("a < b", "").contains("<h1>a &lt; b</h1>"));
        assert_eq!(facts(&[("x", "1 & 2".into())]), "<dl><dt>x</dt><dd>1 &amp; 2</dd></dl>\n");
        assert!(
            load(&Scenario::default(), "10 messages/s")
                .starts_with("100 clients in 1 rooms, 1 publishers, 10 m")
        );
    }
}
