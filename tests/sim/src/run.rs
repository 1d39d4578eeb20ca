//! One run from one stream, and what many runs have seen together.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use throng_chat::Counters;
use throng_engine::CounterTable as _;

use crate::canary::Canary;
use crate::entropy::{Stream, mix};
use crate::facts::Violation;
use crate::scenario::Scenario;
use crate::trace::Trace;
use crate::world::World;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    pub nodes: u8,
    pub shards: u8,
    pub canary: Option<Canary>,
    pub is_readable: bool,
    /// Checkers that are not held, to look past a known defect.
    pub ignored: &'static [&'static str],
}

impl Options {
    pub fn new(shards: u8) -> Options {
        Options { nodes: 1, shards, canary: None, is_readable: false, ignored: &[] }
    }
}

pub struct Report {
    pub violation: Option<Violation>,
    pub digest: u64,
    pub lines: Vec<String>,
    /// What has happened, by name.
    pub marks: BTreeMap<String, u64>,
    pub turns: u64,
}

/// How many shards a seed runs on when nobody says, on each node.
pub fn shards_of(seed: u64, nodes: u8) -> u8 {
    if nodes > 1 {
        return [1, 2, 1, 1][(mix(seed) % 4) as usize];
    }
    [3, 2, 4, 1, 3, 2][(mix(seed) % 6) as usize]
}

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps panics of the shards off the terminal: they are findings, and the trace says more than a
/// backtrace.
pub fn quiet_panics() {
    std::panic::set_hook(Box::new(|info| {
        PANIC.with_borrow_mut(|text| *text = Some(info.to_string()));
    }));
}

/// What the last panic of this thread said.
pub(crate) fn take_panic() -> String {
    PANIC.with_borrow_mut(Option::take).unwrap_or_default()
}

pub fn run_seed(seed: u64, options: Options) -> Report {
    run(&Stream::from_seed(seed), options)
}

pub fn run(stream: &Stream, options: Options) -> Report {
    Canary::arm(options.canary);
    let scenario = Scenario::draw(&mut stream.prelude(), options.nodes, options.shards);
    let trace = if options.is_readable { Trace::readable() } else { Trace::default() };
    let mut world = World::new(scenario, trace, options.canary);
    world.facts.ignored = options.ignored;
    if options.is_readable {
        let text = describe(&world.scenario);
        world.facts.trace.line(|| text);
    }
    let end = catch_unwind(AssertUnwindSafe(|| {
        for mut record in stream.records() {
            world.step(&mut record);
            if world.has_failed() {
                return;
            }
        }
        world.heal_and_check();
    }));
    if end.is_err() {
        world.facts.fail("no-panic", take_panic());
    }
    report(world)
}

fn report(mut world: World) -> Report {
    let mut marks: BTreeMap<String, u64> = BTreeMap::new();
    for name in throng_engine::Counters::NAMES.iter().chain(Counters::NAMES) {
        marks.insert((*name).to_owned(), world.counter(name));
    }
    for (name, count) in &world.facts.marks {
        *marks.entry(format!("seen {name}")).or_default() += count;
    }
    marks.insert("seen store_failures".to_owned(), world.store.failures);
    marks.insert("seen messages".to_owned(), world.facts.received);
    Report {
        violation: world.facts.violation.take(),
        digest: world.facts.trace.digest(),
        lines: world.facts.trace.take_lines(),
        marks,
        turns: world.turns,
    }
}

fn describe(scenario: &Scenario) -> String {
    let mut faults: Vec<String> = crate::scenario::Fault::ALL
        .into_iter()
        .filter(|fault| scenario.has(*fault))
        .map(|fault| format!("{fault:?}"))
        .collect();
    let of_cluster =
        crate::scenario::ClusterFault::ALL.into_iter().filter(|f| scenario.has_of_cluster(*f));
    faults.extend(of_cluster.map(|fault| format!("{fault:?}")));
    let s = &scenario.settings;
    format!(
        "{} nodes of {} shards, {} users, {} tabs, rooms {} of {}, lanes of {}, grace {} ms, ephemeral {}, \
         exclusive {:?}, unread window {} ms; faults: {}",
        scenario.nodes,
        scenario.shards,
        scenario.users,
        scenario.tabs.len(),
        scenario.rooms,
        scenario.rooms_named,
        scenario.lane_max,
        s.grace_ms,
        s.ephemeral,
        s.exclusive,
        s.unread_window_ms,
        faults.join(" ")
    )
}
