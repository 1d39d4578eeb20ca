//! What the tasks of one generator thread share.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::clock::now_ns;
use crate::readiness::Readiness;
use crate::scenario::Mode;
use crate::session::{Local, Turn};
use crate::shared::{Shared, Stage};
use crate::slots::Slots;

pub struct Context {
    pub shared: Arc<Shared>,
    pub thread: usize,
    pub buffer: RefCell<Vec<u8>>,
    pub local: RefCell<Local>,
    pub slots: Slots,
    pub readiness: Readiness,
    /// Clients that ended and will not come back.
    pub gone: Cell<u64>,
    /// Open loop: when the next message is due; `u64::MAX`: there is none.
    pub next_due_ns: Cell<u64>,
}

impl Context {
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.shared.stage() >= Stage::Done
    }

    #[must_use]
    pub fn is_closed_loop_running(&self) -> bool {
        let times = &self.shared.times;
        self.shared.scenario.load.mode == Mode::Closed
            && self.shared.stage() == Stage::Running
            && (times.start_ns.load(Ordering::Relaxed)..times.end_ns.load(Ordering::Relaxed))
                .contains(&now_ns())
    }

    /// A batch of work that begins now.
    #[must_use]
    pub fn turn<'t>(&'t self, local: &'t mut Local) -> Turn<'t> {
        Turn::new(&self.shared, local, now_ns())
    }
}
