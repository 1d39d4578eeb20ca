//! The JSON report; its schema is `report.schema.json` next to the README.

use serde_json::{Value, json};

use super::{Summary, quotes_of};
use crate::runner::Verdict;

pub const SCHEMA_VERSION: u32 = 1;

pub fn render(summary: &Summary<'_>) -> Value {
    let results: Vec<Value> = summary
        .reports
        .iter()
        .map(|report| {
            let mut value = json!(report);
            value["quotes"] = json!(quotes_of(report));
            value
        })
        .collect();
    json!({
        "schema": SCHEMA_VERSION,
        "tool": "throng-harness",
        "version": env!("CARGO_PKG_VERSION"),
        "target": summary.target,
        "selection": summary.selection,
        "profile": summary.profile.name(),
        "seed": summary.seed,
        "finished": summary.finished,
        "duration_ms": summary.duration_ms,
        "exit_code": summary.exit_code(),
        "capabilities": summary.capabilities,
        "totals": {
            "pass": summary.count(Verdict::Pass),
            "fail": summary.count(Verdict::Fail),
            "warn": summary.count(Verdict::Warn),
            "skip": summary.count(Verdict::Skip),
            "error": summary.count(Verdict::Error),
        },
        "unreachable": summary.unreachable,
        "not_met": summary.shortfalls.iter().map(|shortfall| json!({
            "demand": shortfall.demand,
            "observed": shortfall.observed,
        })).collect::<Vec<_>>(),
        "clauses_judged": summary.judged_clauses(),
        "clauses_not_judged": summary.clauses().map(|clause| clause.id)
            .filter(|id| !summary.judged_clauses().contains(id)).collect::<Vec<_>>(),
        "results": results,
    })
}
