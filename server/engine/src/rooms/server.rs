//! The application of named rooms.

use std::convert::Infallible;

use bytes::Bytes;

use super::edge::Edge;
use super::handler::{Auth, Event, Handler};
use super::home::Home;
use super::io::Io;
use super::items::{RoomDelivery, RoomRequest};
use super::packets::is_reserved;
use super::settings::{Counters, Settings};
use super::socket::Socket;
use super::state::RoomState;
use crate::app::{App, Cx, Place};
use crate::engine::{CloseReason, Engine, SessionEvent};
use crate::ids::{SessionId, ShardId};
use crate::items::Items;
use crate::lanes::{Full, LANE_RETRY_MS, Lanes};
use crate::maps::Keyed;
use crate::now::Now;

/// The application of named rooms: a [`Handler`] on any number of shards, and what it keeps for each
/// room, a [`RoomState`], if anything.
pub struct Rooms<H, S: RoomState = ()> {
    handler: H,
    edge: Edge<S::Message>,
    home: Home<S>,
    counters: Counters,
    /// Requests wait for free slots.
    retry_at: Option<Now>,
    /// Deliveries wait for free slots.
    home_retry_at: Option<Now>,
    /// The first shard: it alone calls [`Handler::tick`].
    is_first: bool,
    tick_ms: u64,
    /// `None` without ticks, and before the first turn.
    tick_at: Option<Now>,
}

impl<H: Handler<S::Message>, S: RoomState> Rooms<H, S> {
    /// Calls the handler with the socket if the namespace is connected.
    fn handle(
        &mut self,
        session: SessionId,
        event_bytes: usize,
        engine: &mut Engine,
        call: impl FnOnce(&mut H, &mut Socket<'_, S::Message>),
    ) {
        // A session may end before its CONNECT or after its DISCONNECT, and before home refuses it a room.
        let Some(id) = self.edge.id(session) else { return };
        let event_bytes = u32::try_from(event_bytes).unwrap_or(u32::MAX);
        let Rooms { handler, edge, counters, .. } = self;
        call(handler, &mut Socket { id, event_bytes, engine, edge, counters });
        if self.edge.is_over() {
            engine.end(session, CloseReason::Limit("waiting_bytes_max"));
        }
    }

    fn disconnected(&mut self, session: SessionId, engine: &mut Engine) {
        self.handle(session, 0, engine, |handler, socket| handler.disconnecting(socket));
        self.edge.disconnected(session);
    }

    /// Sends what the state of rooms has for their members.
    fn flush_home(&mut self, cx: &mut Cx<'_, Self>) {
        while let Some((to, delivery)) = self.home.next(|to| cx.lanes.delivery_slots(to) > 0) {
            cx.lanes.deliver(to, delivery);
        }
        self.home_retry_at = self.home.is_blocked().then(|| cx.engine.now().plus_ms(LANE_RETRY_MS));
    }

    fn flush(&mut self, cx: &mut Cx<'_, Self>) {
        let lanes = &mut *cx.lanes;
        let is_done = self
            .edge
            .flush(|to, request| lanes.request(to, request).map_err(|Full(request)| request));
        self.retry_at = (!is_done).then(|| cx.engine.now().plus_ms(LANE_RETRY_MS));
        if !is_done {
            self.counters.lane_refusals_request += 1;
        }
    }
}

impl<H: Handler<S::Message>, S: RoomState> Items for Rooms<H, S> {
    type Request = RoomRequest<S::Message>;
    type Delivery = RoomDelivery;
    type Command = Infallible;
    type Reply = Infallible;
    type Signal = Infallible;
    type Notice = Infallible;
    type Log = Infallible;
    type Change = Infallible;
}

impl<H: Handler<S::Message>, S: RoomState> App for Rooms<H, S> {
    type Settings = Settings<H>;
    type View = Vec<Infallible>;
    type Counters = Counters;

    const ADMITS: bool = true;

    fn new(settings: &Settings<H>, place: &Place) -> Rooms<H, S> {
        let keyed = Keyed::new(place.seed.placement);
        Rooms {
            handler: settings.handler.clone(),
            edge: Edge::new(settings, keyed.clone(), place.shards),
            home: Home::new(settings, keyed, place),
            counters: Counters::default(),
            retry_at: None,
            home_retry_at: None,
            is_first: place.shard == ShardId(0),
            tick_ms: u64::from(settings.tick_ms),
            tick_at: None,
        }
    }

    fn begin(&mut self, now: Now) {
        let has_ticks = self.tick_ms > 0 && (self.is_first || S::IS_KEPT);
        if has_ticks && self.tick_at.is_none() {
            self.tick_at = Some(now.plus_ms(self.tick_ms));
        }
    }

    fn session_event(&mut self, event: SessionEvent, cx: &mut Cx<'_, Self>) {
        match event {
            SessionEvent::Opened { session, .. } => self.edge.opened(session),
            SessionEvent::Connected { session, namespace, id, auth } => {
                if let Err(why) = self.handler.admits(id, Auth(auth.as_deref())) {
                    self.counters.connects_refused += 1;
                    return cx.engine.refuse(session, namespace, id, &why);
                }
                cx.engine.admit(session, namespace, id);
                self.edge.connected(session, id);
                self.handle(session, 0, cx.engine, |handler, socket| handler.connected(socket));
            }
            SessionEvent::Event { session, ack, data, attachments, .. } => {
                if self.edge.id(session).is_none() {
                    // It was sent before the client learned that it is not admitted.
                    cx.engine.counters.stale_packets += 1;
                    return;
                }
                if is_reserved(data.name()) {
                    cx.engine.end(session, CloseReason::ParseError);
                } else {
                    let bytes = data.len() + attachments.iter().map(Bytes::len).sum::<usize>();
                    let event = Event { data: &data, ack, attachments: &attachments };
                    self.handle(session, bytes, cx.engine, |handler, socket| {
                        handler.event(socket, event);
                    });
                }
            }
            SessionEvent::Disconnected { session } => self.disconnected(session, cx.engine),
            SessionEvent::Moved { session } => self.edge.moved(session, cx.engine),
            SessionEvent::Ended { session, .. } => {
                self.disconnected(session, cx.engine);
                self.edge.closed(session);
            }
            // Only endpoints without Socket.IO have these.
            SessionEvent::Text { session, .. } | SessionEvent::Binary { session, .. } => {
                cx.engine.end(session, CloseReason::ParseError);
            }
        }
        self.flush(cx);
    }

    fn request(&mut self, request: RoomRequest<S::Message>, cx: &mut Cx<'_, Self>) {
        let counters = &mut self.counters;
        self.home.request(request, counters, |to, delivery| cx.lanes.deliver(to, delivery));
        if S::IS_KEPT {
            self.flush_home(cx);
        }
    }

    fn delivery(&mut self, delivery: RoomDelivery, engine: &mut Engine) {
        let refused = self.edge.delivery(delivery, engine, &mut self.counters);
        if let Some((session, room)) = refused {
            self.handle(session, 0, engine, |handler, socket| handler.join_refused(socket, &room));
        }
        if self.edge.owes() {
            // The edge may have settled before: home sends when it settles.
            self.retry_at = Some(engine.now());
        }
    }

    fn reply(&mut self, reply: Infallible, _cx: &mut Cx<'_, Self>) {
        match reply {}
    }

    fn notice(&mut self, notice: Infallible, _cx: &mut Cx<'_, Self>) {
        match notice {}
    }

    fn settle_edge(&mut self, cx: &mut Cx<'_, Self>) {
        if self.is_first && self.tick_at.is_some_and(|at| at <= cx.engine.now()) {
            self.handler.tick(&mut Io { edge: &mut self.edge });
        }
        self.flush(cx);
    }

    fn settle_home(&mut self, cx: &mut Cx<'_, Self>) {
        self.flush_home(cx);
        let now = cx.engine.now();
        if self.tick_at.is_some_and(|at| at <= now) {
            self.tick_at = Some(now.plus_ms(self.tick_ms));
            // A home that waits for free slots misses a tick.
            if S::IS_KEPT && !self.home.is_blocked() {
                self.home.tick();
                self.flush_home(cx);
            }
        }
        self.home.count(&mut self.counters);
    }

    /// A request without state causes at most one delivery per edge. The deliveries of one with state
    /// wait at the home, which takes no more until they are sent.
    fn takes_requests(&self, lanes: &Lanes<Self>) -> bool {
        !self.home.is_blocked() && lanes.delivery_slots_min() > 0
    }

    fn next_deadline(&self) -> Option<Now> {
        [self.retry_at, self.home_retry_at, self.tick_at].into_iter().flatten().min()
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }

    fn check(&self, engine: &Engine, _lanes: &Lanes<Self>) {
        self.edge.check(engine);
        self.home.check();
        assert!(!self.edge.owes() || self.retry_at.is_some(), "requests wait without a deadline");
        let is_seen_to = !self.home.is_blocked() || self.home_retry_at.is_some();
        assert!(is_seen_to, "deliveries wait without a deadline");
    }
}
