//! The application of named rooms.

use std::convert::Infallible;

use throng_wire::sio;

use super::edge::{Edge, RoomDelivery, RoomRequest};
use super::handler::{Event, Handler, Socket};
use super::home::Home;
use super::settings::{Counters, Settings};
use crate::app::{App, Cx, Place};
use crate::ids::SessionId;
use crate::items::Items;
use crate::lanes::{Full, Lanes};
use crate::maps::Keyed;
use crate::now::Now;
use crate::sessions::{CloseReason, Engine, SessionEvent};

/// The application of named rooms: a [`Handler`] on any number of shards.
pub struct Rooms<H> {
    handler: H,
    edge: Edge,
    home: Home,
    counters: Counters,
    retry_at: Option<Now>,
}

impl<H: Handler> Rooms<H> {
    /// Calls the handler with the socket, then sends what it did.
    fn handle(
        &mut self,
        session: SessionId,
        cx: &mut Cx<'_, Self>,
        call: impl FnOnce(&mut H, &mut Socket<'_>),
    ) {
        let id = self.edge.take_id(session);
        if id.is_empty() {
            return;
        }
        let mut socket = Socket { session, id: &id, engine: cx.engine, edge: &mut self.edge };
        call(&mut self.handler, &mut socket);
        self.edge.set_id(session, id);
        if self.edge.is_over() {
            cx.engine.end(session, CloseReason::Limit);
        }
    }

    fn disconnected(&mut self, session: SessionId, cx: &mut Cx<'_, Self>) {
        self.handle(session, cx, |handler, socket| handler.disconnecting(socket));
        self.edge.leave_all(session);
        // Nothing is connected any more.
        drop(self.edge.take_id(session));
    }

    fn flush(&mut self, cx: &mut Cx<'_, Self>) {
        let lanes = &mut *cx.lanes;
        let is_done = self
            .edge
            .flush(|to, request| lanes.request(to, request).map_err(|Full(request)| request));
        self.retry_at = (!is_done).then(|| cx.engine.now().plus_ms(1));
        if !is_done {
            self.counters.lane_refusals_request += 1;
        }
    }
}

impl<H: Handler> Items for Rooms<H> {
    type Request = RoomRequest;
    type Delivery = RoomDelivery;
    type Command = Infallible;
    type Reply = Infallible;
    type Signal = Infallible;
    type Notice = Infallible;
    type Log = Infallible;
    type Change = Infallible;
}

impl<H: Handler> App for Rooms<H> {
    type Settings = Settings<H>;
    type View = Vec<Infallible>;
    type Counters = Counters;

    fn new(settings: &Settings<H>, place: &Place) -> Rooms<H> {
        let keyed = Keyed::new(place.seed.placement);
        Rooms {
            handler: settings.handler.clone(),
            edge: Edge::new(settings, keyed.clone(), place.shards),
            home: Home::new(keyed, place.shards),
            counters: Counters::default(),
            retry_at: None,
        }
    }

    fn session_event(&mut self, event: SessionEvent, cx: &mut Cx<'_, Self>) {
        match event {
            SessionEvent::Opened { session, .. } => self.edge.opened(session),
            SessionEvent::Connected { session, id, .. } => {
                self.edge.set_id(session, id);
                self.handle(session, cx, |handler, socket| handler.connected(socket));
            }
            SessionEvent::Event { session, ack, data, attachments, .. } => {
                let parsed = sio::event(&data).expect("the decoder has checked the event");
                let event = Event { parsed, ack, attachments: &attachments };
                self.handle(session, cx, |handler, socket| handler.event(socket, event));
            }
            SessionEvent::Disconnected { session } => self.disconnected(session, cx),
            SessionEvent::Moved { session } => self.edge.moved(session, cx.engine),
            SessionEvent::Ended { session, .. } => {
                self.disconnected(session, cx);
                self.edge.closed(session);
            }
            // Only endpoints without Socket.IO have these.
            SessionEvent::Text { session, .. } | SessionEvent::Binary { session, .. } => {
                cx.engine.end(session, CloseReason::ParseError);
            }
        }
        self.flush(cx);
    }

    fn request(&mut self, request: RoomRequest, cx: &mut Cx<'_, Self>) {
        self.home.request(request, |to, delivery| cx.lanes.deliver(to, delivery));
    }

    fn delivery(&mut self, delivery: RoomDelivery, engine: &mut Engine) {
        self.edge.delivery(delivery, engine, &mut self.counters);
    }

    fn reply(&mut self, reply: Infallible, _cx: &mut Cx<'_, Self>) {
        match reply {}
    }

    fn notice(&mut self, notice: Infallible, _cx: &mut Cx<'_, Self>) {
        match notice {}
    }

    fn settle_edge(&mut self, cx: &mut Cx<'_, Self>) {
        self.flush(cx);
    }

    fn settle_home(&mut self, _cx: &mut Cx<'_, Self>) {
        self.counters.rooms = self.home.rooms() as u64;
    }

    /// A request causes at most one delivery per edge.
    fn takes_requests(&self, lanes: &Lanes<Self>) -> bool {
        lanes.delivery_slots_min() > 0
    }

    fn next_deadline(&self) -> Option<Now> {
        self.retry_at
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }

    fn check(&self, engine: &Engine, _lanes: &Lanes<Self>) {
        self.edge.check(engine);
        self.home.check();
    }
}
