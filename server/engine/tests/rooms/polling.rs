//! Clients that poll.

use throng_engine::rooms::{Event, Handler, Rooms, Settings as RoomSettings, Socket};
use throng_engine::{Eio, EngineRequest, Method, PollId, Settings, Transport};
use throng_world::{World, request};

/// Sends a last event and disconnects the client.
#[derive(Clone)]
struct Bouncer;

impl Handler for Bouncer {
    fn event(&mut self, socket: &mut Socket<'_>, event: Event<'_>) {
        socket.emit("bye", event.name());
        socket.disconnect();
    }
}

struct Poller {
    world: World<Rooms<Bouncer>, ()>,
    eio: Eio,
    sid: String,
}

impl Poller {
    fn open(eio: Eio) -> Poller {
        let app = RoomSettings::new(Bouncer);
        let mut world = World::start(1, 16, &Settings::default(), &app, ());
        let poll = world.http(0, request(Transport::Polling, eio), Ok(""));
        let (_, body) = world.answer(poll).expect("a handshake is answered");
        let sid = body.split('"').nth(3).expect("the sid").to_owned();
        let mut poller = Poller { world, eio, sid };
        if eio == Eio::V4 {
            poller.post("40");
            let poll = poller.get();
            assert!(poller.world.answer(poll).expect("CONNECT is answered").1.starts_with("40"));
        }
        poller
    }

    fn request(&self, method: Method) -> EngineRequest {
        let sid = Some(self.sid.as_str().into());
        EngineRequest { method, sid, ..request(Transport::Polling, self.eio) }
    }

    fn get(&mut self) -> PollId {
        self.world.http(0, self.request(Method::Get), Ok(""))
    }

    fn post(&mut self, packet: &str) {
        let body = match self.eio {
            Eio::V3 => format!("{}:{packet}", packet.len()),
            _ => packet.to_owned(),
        };
        let poll = self.world.http(0, self.request(Method::Post), Ok(&body));
        assert_eq!(self.world.answer(poll), Some((200, "ok".into())));
    }

    fn sessions(&self) -> usize {
        self.world.shards().map(|shard| shard.engine().sessions().count()).sum()
    }
}

#[test]
fn who_is_disconnected_between_two_polls_learns_it_with_the_next() {
    for eio in [Eio::V3, Eio::V4] {
        let mut poller = Poller::open(eio);
        poller.post(r#"42["leave me"]"#);
        // Another event was on its way.
        poller.post(r#"42["and this"]"#);
        let poll = poller.get();
        let (status, body) = poller.world.answer(poll).expect("it waits");
        assert_eq!(status, 200);
        assert!(body.contains(r#"42["bye","leave me"]"#) && body.contains("41"), "{eio:?}: {body}");
        assert!(!body.contains("and this"), "{eio:?}: {body}");
        assert_eq!(poller.sessions(), 1, "the client closes");
        poller.post("1");
        assert_eq!(poller.sessions(), 0);
    }
}

#[test]
fn who_is_disconnected_while_it_polls_gets_all_and_no_close_before_it_has_read_it() {
    let mut poller = Poller::open(Eio::V4);
    let poll = poller.get();
    poller.post(r#"42["leave me"]"#);
    let (_, body) = poller.world.answer(poll).expect("it was held");
    assert_eq!(body, "42[\"bye\",\"leave me\"]\u{1e}41");
    poller.world.advance(44_000);
    poller.post("3");
    poller.world.advance(2_000);
    assert_eq!(poller.sessions(), 0, "a client that does not close is ended");
}
