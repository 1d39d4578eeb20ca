//! `replay`: a script that a property test saved.

use std::sync::Arc;
use std::time::Duration;

use throng_spec::Profile;

use super::{BROKEN, CONFORMS, Exit, UNREACHABLE, USAGE, nodes, reach, read, unreachable};
use crate::cli::ReplayArgs;
use crate::combo::E4W;
use crate::context::Context;
use crate::output::say;
use crate::property::script::Script;
use crate::property::{Broken, SETTLE_TIMEOUT, play};
use crate::report::quotes;
use crate::run::Run;

pub fn replay(args: &ReplayArgs) -> Exit {
    let script: Script = serde_json::from_str(&read(&args.file)?)
        .map_err(|why| (USAGE, format!("{} is not a script: {why}", args.file.display())))?;
    let nodes = nodes(&args.target)?;
    let capabilities =
        reach(&nodes, Profile::Throng, None, args.target.start_wait()).map_err(unreachable)?;
    if !capabilities.chat || !capabilities.rooms_on_demand {
        return Err((USAGE, "scripts need a target with chat and rooms on demand".to_owned()));
    }
    let combo = capabilities.preferred().unwrap_or(E4W);
    let run = Arc::new(Run::new(nodes, capabilities, 0));
    for (index, step) in script.steps.iter().enumerate() {
        say!("{index}: {step}");
    }
    let soak = Duration::from_secs_f64(args.soak);
    for round in 1..=args.times {
        let context = Context::new(run.clone(), combo);
        match play(&context, &script, SETTLE_TIMEOUT, soak) {
            Ok(()) => say!("run {round}: passed"),
            Err(Broken::Harness(why)) => return Err((UNREACHABLE, why)),
            Err(Broken::Violation(violation)) => {
                say!("run {round}: {} violated", violation.clause);
                for quote in quotes(&[violation.clause.to_owned()]) {
                    say!("   {quote}");
                }
                say!("   expected: {}", violation.expected);
                say!("   observed: {}", violation.observed);
                say!("   frames:");
                for line in context.transcript.lines() {
                    say!("   {}", line.render());
                }
                return Ok(BROKEN);
            }
        }
    }
    Ok(CONFORMS)
}
