//! TRN-37, TRN-39, LIM-38: bodies of POSTs that arrive piece by piece.

use throng_chat::Settings;
use throng_engine::{AnonymousLimits, Eio, EngineRequest, Method, PollId, Transport};
use throng_world::Arriving;

use crate::transport::{sid_of, with_sid};
use crate::world::{World, request, settings, token};

/// Opens a session, of a user or of a stranger; returns its POST.
fn opened(world: &mut World, user: Option<u32>) -> EngineRequest {
    let token = user.map(|user| token(user).into());
    let open = EngineRequest { token, ..request(Transport::Polling, Eio::V4) };
    let poll = world.http(0, open, Ok(""));
    let (_, body) = world.answer(poll).expect("a handshake is answered");
    let post = with_sid(&sid_of(&body), Transport::Polling, Eio::V4, Method::Post);
    let connect = world.http(0, post.clone(), Ok("40"));
    assert_eq!(world.answer(connect), Some((200, "ok".into())));
    post
}

fn begin(world: &mut World, post: &EngineRequest) -> PollId {
    world.http(0, post.clone(), Err(Arriving(None)))
}

fn status(world: &mut World, poll: PollId) -> Option<u16> {
    world.answer(poll).map(|answer| answer.0)
}

fn sessions(world: &World) -> usize {
    world.shards().map(|shard| shard.engine().sessions().count()).sum()
}

fn held(world: &World) -> usize {
    world.shards().map(|shard| shard.engine().held_in()).sum()
}

const PIECE: &[u8] = &[b'x'; 10_000];

#[test]
fn a_body_in_pieces_is_read_like_a_whole_one() {
    for pieces in [&["42[\"nothing\"]"][..], &["42[", "\"noth", "ing\"]", ""]] {
        let mut world = World::new(1, settings());
        let post = opened(&mut world, Some(1));
        let get = EngineRequest { method: Method::Get, ..post.clone() };
        let poll = world.http(0, get.clone(), Ok(""));
        world.answer(poll);
        let posted = begin(&mut world, &post);
        for (index, piece) in pieces.iter().enumerate() {
            assert_eq!(world.answer(posted), None);
            assert_eq!(world.counter("bodies"), 1);
            world.http_body(0, posted, piece.as_bytes(), index + 1 == pieces.len());
        }
        assert_eq!(world.answer(posted), Some((200, "ok".into())));
        assert_eq!((world.counter("bodies"), held(&world)), (0, 0));
        let poll = world.http(0, get, Ok(""));
        assert!(world.answer(poll).expect("an answer waits").1.contains("unknown_event"));
    }
}

/// Spec: TRN-40.
#[test]
fn a_body_of_4096_packets_is_valid_and_one_of_more_is_not() {
    for (packets, expected) in [(4096, 200), (4097, 400)] {
        let mut world = World::new(1, settings());
        let post = opened(&mut world, Some(1));
        let body = vec!["3"; packets].join("\u{1e}");
        let posted = world.http(0, post, Ok(&body));
        // As many at once are more than a second's work: the answer comes when that is over.
        world.advance(10_000);
        assert_eq!((packets, status(&mut world, posted)), (packets, Some(expected)));
        assert_eq!(sessions(&world), usize::from(expected == 200));
    }
}

#[test]
fn who_the_session_is_comes_before_its_body() {
    let mut world = World::new(1, settings());
    let unknown = with_sid("AAAAAAAAAAAAAAAAAAAA", Transport::Polling, Eio::V4, Method::Post);
    let posted = begin(&mut world, &unknown);
    assert_eq!(status(&mut world, posted), Some(400), "it is answered before its body has come");
    world.http_body(0, posted, PIECE, true);
    assert_eq!(held(&world), 0, "and its body is dropped");
    // The bound is that of the session, known from the head or as it arrives.
    let max = AnonymousLimits::default().payload_bytes_max as usize;
    for (user, most) in [(None, max), (Some(1), 4 << 20)] {
        for announces in [true, false] {
            let mut world = World::new(1, settings());
            let post = opened(&mut world, user);
            let exact = Arriving(Some(most as u64));
            let posted = world.http(0, post.clone(), Err(exact));
            let body = format!("42[\"nothing\",\"{}\"]", "x".repeat(most - 16)).into_bytes();
            for part in body.chunks(16_000) {
                world.http_body(0, posted, part, false);
            }
            world.http_body(0, posted, b"", true);
            assert_ne!(status(&mut world, posted), Some(413), "{user:?}: {most} bytes are allowed");
            world.advance(10_000);
            assert_eq!(sessions(&world), 1);
            let one_more = Arriving(announces.then_some(most as u64 + 1));
            let posted = world.http(0, post, Err(one_more));
            if !announces {
                world.http_body(0, posted, &body, false);
                assert_eq!(world.answer(posted), None);
                world.http_body(0, posted, b"x", false);
            }
            assert_eq!(status(&mut world, posted), Some(413), "{user:?}");
            assert_eq!((sessions(&world), held(&world)), (0, 0));
        }
    }
}

#[test]
fn a_body_has_a_least_rate() {
    // Nothing but the head; a first byte; one byte in a while.
    for bytes in [&b""[..], b"4"] {
        let mut world = World::new(1, settings());
        let post = opened(&mut world, None);
        let posted = begin(&mut world, &post);
        if !bytes.is_empty() {
            world.http_body(0, posted, bytes, false);
        }
        world.advance(9_900);
        assert_eq!((world.answer(posted), sessions(&world)), (None, 1));
        world.advance(400);
        assert_eq!(status(&mut world, posted), Some(408));
        assert_eq!((sessions(&world), held(&world)), (0, 0));
        assert_eq!((world.counter("bodies_too_slow"), world.counter("closed_limit")), (1, 1));
    }
    // Who keeps to the rate is waited for.
    let mut world = World::new(1, settings());
    let post = opened(&mut world, Some(1));
    let posted = begin(&mut world, &post);
    for _ in 0..15 {
        world.http_body(0, posted, &PIECE[..5_000], false);
        world.advance(1_000);
        assert_eq!(world.answer(posted), None);
    }
    world.http_body(0, posted, b"x", true);
    assert_eq!(status(&mut world, posted), Some(400), "it is no packet");
}

#[test]
fn a_second_post_ends_the_session_of_the_first() {
    let mut world = World::new(1, settings());
    let post = opened(&mut world, None);
    let first = begin(&mut world, &post);
    let second = begin(&mut world, &post);
    assert_eq!([first, second].map(|poll| status(&mut world, poll)), [Some(400); 2]);
    assert_eq!((sessions(&world), world.counter("closed_polling_overlap")), (0, 1));
}

#[test]
fn a_client_that_gives_up_its_post_may_send_another() {
    let mut world = World::new(1, settings());
    let post = opened(&mut world, None);
    let first = begin(&mut world, &post);
    world.http_body(0, first, PIECE, false);
    world.http_gone(0, first);
    assert_eq!((world.counter("bodies"), held(&world)), (0, 0));
    let second = world.http(0, post, Ok("3"));
    assert_eq!(status(&mut world, second), Some(200));
}

#[test]
fn a_body_that_is_arriving_when_its_session_moves_is_refused() {
    let mut world = World::new(1, settings());
    let post = opened(&mut world, None);
    let sid = post.sid.clone().expect("it names its session");
    let probe = world.upgrade(0, with_sid(&sid, Transport::Websocket, Eio::V4, Method::Get));
    world.send(probe, "2probe");
    let posted = begin(&mut world, &post);
    world.send(probe, "5");
    assert_eq!(status(&mut world, posted), Some(400));
    assert_eq!((sessions(&world), held(&world)), (1, 0));
}

#[test]
fn what_strangers_hold_is_not_what_a_user_needs() {
    let anonymous = AnonymousLimits { held_mib_max: 1, ..AnonymousLimits::default() };
    let engine = throng_engine::Settings { anonymous, ..throng_engine::Settings::default() };
    let mut world = World::new(1, Settings { engine, ..settings() });
    let user = opened(&mut world, Some(1));
    let users = begin(&mut world, &user);
    let small = opened(&mut world, None);
    let smalls = begin(&mut world, &small);
    let strangers: Vec<PollId> = (0..200)
        .map(|_| {
            let post = opened(&mut world, None);
            let posted = begin(&mut world, &post);
            world.http_body(0, posted, PIECE, false);
            world.http_body(0, users, PIECE, false);
            posted
        })
        .collect();
    let user_holds = 200 * PIECE.len() * 2;
    assert!(held(&world) <= (1 << 20) + user_holds, "{} bytes are held", held(&world));
    let refused = strangers.into_iter().filter(|poll| status(&mut world, *poll) == Some(503));
    assert!(refused.count() > 80, "those who hold most go first");
    assert_eq!(world.answer(smalls), None, "who holds little is not among them");
    world.http_body(0, users, b"", true);
    assert_eq!(status(&mut world, users), Some(400), "it is all there, and no packet");
}

#[test]
fn a_body_in_many_small_pieces_is_work() {
    let mut world = World::new(1, settings());
    let post = opened(&mut world, None);
    let posted = begin(&mut world, &post);
    for _ in 0..690 {
        world.http_body(0, posted, b"x", false);
    }
    assert_eq!(world.answer(posted), None);
    for _ in 0..20 {
        world.http_body(0, posted, b"x", false);
    }
    assert_eq!(status(&mut world, posted), Some(503), "it is ten seconds ahead");
    assert_eq!((sessions(&world), world.counter("closed_limit")), (0, 1));
}
