//! One shard: engine, lanes and application behind one `step`.

use crate::app::{App, Cx, Place};
use crate::effects::Effects;
use crate::engine::{Engine, Read, Traits};
use crate::engine_request::EngineRequest;
use crate::ids::{PipeId, Sid};
use crate::input::Input;
use crate::lane_slots::LaneSlots;
use crate::lanes::{LANE_RETRY_MS, Lanes};
use crate::now::Now;
use crate::outbox::Outbox;
use crate::settings::Settings;

/// A session has one bit for each in which it is connected.
const NAMESPACES_MAX: usize = 8;

/// Everything one thread knows.
///
/// A turn is [`Shard::begin`], any number of [`Shard::step`]s and one [`Shard::settle`]; then the
/// caller applies the [`Effects`] and flushes the [`Outbox`].
pub struct Shard<A: App> {
    engine: Engine,
    lanes: Lanes<A>,
    app: A,
}

impl<A: App> Shard<A> {
    /// Makes one shard and its application.
    pub fn new(settings: &Settings, app: &A::Settings, place: &Place) -> Shard<A> {
        const { assert!(A::NAMESPACES.len() <= NAMESPACES_MAX, "too many namespaces") };
        let Place { shard, shards, ref seed } = *place;
        let traits = Traits {
            namespaces: A::NAMESPACES,
            identifies: A::IDENTIFIES,
            takes_attachments: A::TAKES_ATTACHMENTS,
            admits: A::ADMITS,
            long_packets: A::long_packets(app),
        };
        Shard {
            engine: Engine::new(settings.clone(), shard, shards, seed, traits),
            lanes: Lanes::new(shard, shards, settings.own_lane_max),
            app: A::new(app, place),
        }
    }

    /// Starts a turn. `unix_ms` is the wall clock, in ms since 1970 (UTC), which is asked for each turn because it may
    /// be set at any time. `slots` says how many items each lane can still take; the shard never emits more than that.
    pub fn begin(&mut self, now: Now, unix_ms: i64, slots: &LaneSlots) {
        self.engine.begin(now, unix_ms);
        self.app.begin(now);
        self.lanes.begin(slots);
        // Own requests that did not fit the lanes of the last turn come first.
        self.pump();
    }

    /// Handles one input.
    pub fn step(&mut self, input: Input<'_, A>, effects: &mut Effects<A>) {
        match input {
            Input::Upgrade { pipe, accept, request } => self.engine.upgrade(pipe, accept, request),
            Input::Bytes { pipe, bytes } => {
                let mut read = Read::new(bytes);
                while !self.engine.bytes(pipe, &mut read) {
                    self.pump();
                }
            }
            Input::PipeClosed { pipe, end } => self.engine.pipe_closed(pipe, end),
            Input::Http { poll, request, body } => self.engine.http(poll, request, body),
            Input::Body { poll, bytes, is_last } => self.engine.body(poll, bytes, is_last),
            Input::HttpGone { poll } => self.engine.http_gone(poll),
            Input::Request { request, .. } => {
                let mut cx = Cx { engine: &mut self.engine, lanes: &mut self.lanes };
                self.app.request(request, &mut cx);
            }
            Input::Delivery { delivery, .. } => self.app.delivery(delivery, &mut self.engine),
            Input::Reply(reply) => {
                let mut cx = Cx { engine: &mut self.engine, lanes: &mut self.lanes };
                self.app.reply(reply, &mut cx);
            }
            Input::Notice(notice) => {
                let mut cx = Cx { engine: &mut self.engine, lanes: &mut self.lanes };
                self.app.notice(notice, &mut cx);
            }
            Input::Stop => {
                self.engine.stop();
                self.app.stop();
            }
        }
        self.pump();
        self.engine.hand_on_resumes(effects);
        self.lanes.drain_into(effects);
    }

    /// Ends a turn: timers, coalesced updates, what is owed to other shards.
    pub fn settle(&mut self, effects: &mut Effects<A>) {
        self.engine.run_timers();
        self.pump();
        loop {
            let mut cx = Cx { engine: &mut self.engine, lanes: &mut self.lanes };
            self.app.settle_edge(&mut cx);
            self.pump();
            let mut cx = Cx { engine: &mut self.engine, lanes: &mut self.lanes };
            self.app.settle_home(&mut cx);
            // What home sends to its own edge is handled in this very turn.
            self.pump();
            // Evicted sessions owe leaves, and leaves are announced: once more, for ever fewer
            // sessions.
            if !self.engine.evict() {
                break;
            }
            self.pump();
        }
        self.engine.finish_turn(effects);
        self.lanes.drain_into(effects);
    }

    /// Handles session events and the lanes to this very shard until nothing moves.
    fn pump(&mut self) {
        loop {
            let mut cx = Cx { engine: &mut self.engine, lanes: &mut self.lanes };
            if let Some(event) = cx.engine.next_session_event() {
                self.app.session_event(event, &mut cx);
            } else if let Some(delivery) = cx.lanes.next_own_delivery() {
                self.app.delivery(delivery, cx.engine);
            } else if cx.lanes.has_own_requests() && self.app.takes_requests(cx.lanes) {
                if let Some(request) = cx.lanes.next_own_request() {
                    self.app.request(request, &mut cx);
                }
            } else {
                return;
            }
        }
    }

    /// Whether one more [`Input::Request`] fits: its worst-case deliveries must have free slots.
    pub fn takes_requests(&self) -> bool {
        !self.lanes.has_own_requests() && self.app.takes_requests(&self.lanes)
    }

    /// Whether the pipe's bytes are wanted now. After a no, stop reading until
    /// [`Effects::resumes`] names it; the engine drops what comes on a pipe that is closing.
    pub fn reads(&self, pipe: PipeId) -> bool {
        self.engine.reads(pipe)
    }

    /// Whether the pipe carries a session whose user is known, and has not caused much lately: it is read before the
    /// others.
    pub fn is_preferred(&self, pipe: PipeId) -> bool {
        self.engine.is_preferred(pipe)
    }

    /// Whether the sid is that of a session whose user is known.
    pub fn names_identified(&self, sid: &Sid) -> bool {
        self.engine.names_identified(sid)
    }

    /// Whether the request names a session of this shard. Spec: TRN-13.
    pub fn has_session(&self, request: &EngineRequest) -> bool {
        self.engine.has_session(request)
    }

    /// When [`Shard::settle`] must run next even if nothing happens.
    pub fn next_deadline(&self) -> Option<Now> {
        let blocked = self.lanes.has_own_requests().then(|| self.engine.now.plus_ms(LANE_RETRY_MS));
        [self.engine.next_deadline(), self.app.next_deadline(), blocked].into_iter().flatten().min()
    }

    /// The bytes that wait for sockets.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.engine.outbox
    }

    /// Sessions, with the engine's own counters.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The application.
    pub fn app(&self) -> &A {
        &self.app
    }

    /// Asserts all invariants. For tests and simulation, after each [`Shard::settle`].
    ///
    /// # Panics
    /// When one does not hold.
    pub fn check(&self) {
        self.engine.check();
        self.lanes.check();
        self.app.check(&self.engine, &self.lanes);
    }
}
