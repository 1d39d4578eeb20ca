//! `latency`: delivery at a fixed rate.

use std::sync::Arc;
use std::time::Duration;

use throng_spec::Profile;

use super::{BROKEN, CONFORMS, Exit, UNREACHABLE, USAGE, nodes, reach, unreachable, usage};
use crate::cli::{LatencyArgs, TransportArg, combos};
use crate::context::Context;
use crate::latency::{Plan, measure};
use crate::outcome::Stop;
use crate::output::{Output, say};
use crate::run::Run;

pub fn latency(args: &LatencyArgs) -> Exit {
    let nodes = nodes(&args.target)?;
    let mut json = Output::of(args.json.as_ref()).map_err(usage)?;
    let capabilities =
        reach(&nodes, Profile::Throng, None, args.target.start_wait()).map_err(unreachable)?;
    let wanted = combos(args.protocol, TransportArg::Websocket);
    let Some(combo) = wanted.into_iter().find(|combo| capabilities.speaks(*combo)) else {
        return Err((USAGE, "the target does not speak this protocol over WebSocket".to_owned()));
    };
    if !capabilities.chat {
        return Err((USAGE, "the target has no chat to measure".to_owned()));
    }
    let context = Context::new(Arc::new(Run::new(nodes, capabilities, 0)), combo);
    let plan = Plan {
        clients: args.clients as usize,
        rate: args.rate,
        time: Duration::from_secs_f64(args.seconds),
    };
    let measured = match measure(&context, &plan, &context.options()) {
        Ok(measured) => measured,
        Err(Stop::Fail { expected, observed }) => {
            say!("expected {expected}; observed {observed}");
            return Ok(BROKEN);
        }
        Err(Stop::Skip(why) | Stop::Error(why)) => return Err((UNREACHABLE, why)),
    };
    say!(
        "{} messages to {} members: {} of {} deliveries, {} duplicates",
        measured.sent,
        args.clients,
        measured.delivered,
        measured.expected,
        measured.duplicates
    );
    for (name, histogram) in [
        ("delivery, from the intended time", &measured.deliveries),
        ("acknowledgement", &measured.acks),
        ("roster after a join or leave", &measured.rosters),
    ] {
        let at = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
        say!(
            "{name:<34} p50 {:>8.3} ms  p90 {:>8.3} ms  p99 {:>8.3} ms  p99.9 {:>8.3} ms  max {:>8.3} ms",
            at(0.5),
            at(0.9),
            at(0.99),
            at(0.999),
            at(1.0)
        );
    }
    if let Some(output) = &mut json {
        output.write(&format!("{:#}\n", measured.to_json())).map_err(usage)?;
    }
    let mut code = CONFORMS;
    if !measured.is_complete() {
        say!("deliveries are missing or duplicated (CHAT-61)");
        code = BROKEN;
    }
    for slo in &args.slo {
        let observed = Duration::from_micros(measured.deliveries.value_at_quantile(slo.quantile));
        let met = observed <= slo.bound;
        let verdict = if met { "met" } else { "missed" };
        say!("SLO {} <= {:?}: {verdict} ({observed:?})", slo.quantile, slo.bound);
        if !met {
            code = BROKEN;
        }
    }
    Ok(code)
}
