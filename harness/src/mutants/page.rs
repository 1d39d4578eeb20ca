//! The matrix as one self-contained page: no script, style or font from elsewhere.

use std::fmt::Write;

use super::matrix::{Matrix, Row, State};
use super::trial::Trial;

const STYLE: &str = "
:root { color-scheme: light dark; --line: #8884; --dim: #6b7280; --good: #15803d; --bad: #dc2626; }
@media (prefers-color-scheme: dark) { :root { --dim: #9ca3af; --good: #4ade80; --bad: #f87171; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 1.5rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .4rem; }
input { font: inherit; width: 100%; padding: .5rem .7rem; border: 1px solid var(--line); border-radius: 6px; }
.bar { position: sticky; top: 0; background: Canvas; padding: .6rem 0; z-index: 1; }
.states { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; margin: .5rem 0 0; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: right; padding: .15rem .4rem; }
td:first-child, th:first-child { text-align: left; } tr { border-top: 1px solid var(--line); }
.wide { overflow-x: auto; }
details { border-top: 1px solid var(--line); padding: .3rem 0; }
summary { display: grid; grid-template-columns: 5.5rem 1fr auto; gap: .2rem .8rem; cursor: pointer; }
summary::-webkit-details-marker { display: none; }
.id { font: 600 14px ui-monospace, monospace; } .dim { color: var(--dim); }
.good { color: var(--good); } .bad { color: var(--bad); }
ul { margin: .3rem 0; padding-left: 1.2rem; overflow-wrap: anywhere; } code { font-size: 13px; }
@media (max-width: 40rem) { summary { grid-template-columns: 5.5rem 1fr; } summary .count { grid-column: 2; } }
";

/// Shows the rows whose text holds every word, and the chapters that have one.
const SCRIPT: &str = "
const box = document.querySelector('input');
const rows = [...document.querySelectorAll('details')].map(row => [row, row.textContent.toLowerCase()]);
const filter = () => {
  const words = box.value.toLowerCase().split(/\\s+/).filter(Boolean);
  for (const [row, text] of rows) row.hidden = !words.every(word => text.includes(word));
  for (const part of document.querySelectorAll('section')) {
    part.hidden = !part.querySelector('details:not([hidden])');
  }
};
box.addEventListener('input', filter);
box.value = decodeURIComponent(location.hash.slice(1));
filter();
";

/// The page; `about` says how and when the figures were made.
pub fn render(matrix: &Matrix, trials: &[Trial], about: &str) -> String {
    let mut out = String::from("<!doctype html><html lang=en><head><meta charset=utf-8>");
    out.push_str(
        "<meta name=viewport content='width=device-width'><title>Clauses and mutants</title>",
    );
    put(&mut out, format_args!("<style>{STYLE}</style></head><body><h1>Clauses and mutants</h1>"));
    put(&mut out, format_args!("<p class=dim>{}</p>", escape(about)));
    put(
        &mut out,
        format_args!(
            "<p>{} clauses, {} mutants, {} of them detected.</p>",
            matrix.rows.len(),
            matrix.mutants,
            matrix.detected
        ),
    );
    out.push_str("<div class=bar><input type=search placeholder='Filter: words of a clause, a mutant, a case or a state'></div>");
    chapters(&mut out, matrix);
    for prefix in throng_spec::PREFIXES {
        put(&mut out, format_args!("<section><h2>{prefix}</h2>"));
        let rows = matrix.rows.iter().filter(|row| prefix_of(row.clause) == prefix);
        rows.for_each(|row| clause(&mut out, row));
        out.push_str("</section>");
    }
    out.push_str("<section><h2>Mutants that live</h2>");
    for trial in trials.iter().filter(|trial| !trial.is_detected()) {
        put(
            &mut out,
            format_args!(
                "<details><summary><span class='id bad'>{}</span><span>{}</span><span class='dim count'>{} \
                 compared</span></summary><p>{}</p></details>",
                escape(&trial.clauses.join(" ")),
                escape(&trial.mutant),
                trial.compared,
                escape(&trial.text)
            ),
        );
    }
    put(&mut out, format_args!("</section><script>{SCRIPT}</script></body></html>"));
    out
}

/// How many clauses of each chapter are in which state.
fn chapters(out: &mut String, matrix: &Matrix) {
    out.push_str("<div class=wide><table><tr><th>chapter</th>");
    for state in State::ALL {
        put(out, format_args!("<th>{}</th>", state.words()));
    }
    out.push_str("</tr>");
    for prefix in throng_spec::PREFIXES {
        put(out, format_args!("<tr><td>{prefix}</td>"));
        for state in State::ALL {
            let count =
                matrix.of_state(state).filter(|row| prefix_of(row.clause) == prefix).count();
            put(out, format_args!("<td>{count}</td>"));
        }
        out.push_str("</tr>");
    }
    out.push_str("<tr><th>all</th>");
    for state in State::ALL {
        put(out, format_args!("<th>{}</th>", matrix.count(state)));
    }
    out.push_str("</tr></table></div>");
}

fn clause(out: &mut String, row: &Row) {
    let color = match row.state {
        State::Broken => "good",
        State::Unbreakable | State::NoCase => "dim",
        State::Lives | State::Touched | State::NoMutant => "bad",
    };
    let text = throng_spec::clause(row.clause).map(|clause| clause.summary()).unwrap_or_default();
    put(
        out,
        format_args!(
            "<details><summary><span class='id {color}'>{}</span><span>{}</span><span class='dim count'>{}</span></summary>",
            row.clause,
            escape(&text),
            row.state.words()
        ),
    );
    if let Some(reason) = row.reason {
        put(out, format_args!("<p>{}</p>", escape(reason)));
    }
    out.push_str("<ul>");
    for (mutant, case) in &row.broken_by {
        put(
            out,
            format_args!(
                "<li><span class=good>broken by</span> <code>{}</code>, detected by <code>{}</code></li>",
                escape(mutant),
                escape(case)
            ),
        );
    }
    for mutant in &row.lived {
        put(
            out,
            format_args!(
                "<li><span class=bad>not broken by</span> <code>{}</code></li>",
                escape(mutant)
            ),
        );
    }
    if !row.touched_by.is_empty() {
        let names: Vec<String> = row.touched_by.iter().map(|name| escape(name)).collect();
        put(
            out,
            format_args!(
                "<li class=dim>touched by <code>{}</code></li>",
                names.join("</code>, <code>")
            ),
        );
    }
    out.push_str("</ul></details>");
}

fn prefix_of(clause: &str) -> &str {
    clause.split('-').next().unwrap_or(clause)
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a string takes all that is written");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_clause_is_on_the_page_and_markup_is_escaped() {
        let page = render(&Matrix::of(&[]), &[], "<made today>");
        assert!(page.contains("&lt;made today&gt;") && !page.contains("<made"), "escaped");
        for clause in throng_spec::clauses() {
            assert!(page.contains(&format!(">{}</span>", clause.id)), "{}", clause.id);
        }
    }
}
