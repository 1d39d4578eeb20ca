//! Readers that do not read: bounded memory, an eviction with its code, and an undisturbed room.

use std::time::{Duration, Instant};

use serde_json::json;
use throng_tests::chat::{Session, register};
use throng_tests::server::Plan;

#[test]
fn a_reader_that_stops_is_evicted_and_the_others_go_on() {
    let server = Plan::throng(2).args(&["--unlimited"]).start();
    let users: Vec<_> = (0..3).map(|_| register(server.address, "slow")).collect();
    let mut writer = Session::open(server.address, Some(&users[0]));
    let mut reader = Session::open(server.address, Some(&users[1]));
    let mut stuck = Session::open(server.address, Some(&users[2]));
    for session in [&mut writer, &mut reader, &mut stuck] {
        session.join(1);
    }
    reader.ws.packet_with("\"online\":3");
    let text = "0123456789".repeat(200);
    let begun = Instant::now();
    let mut said = 0;
    while server.metric("throng_evictions_total", "").unwrap_or(0.0) < 1.0 {
        for _ in 0..200 {
            let ack = writer.ask("message", &json!({ "roomid": 1, "msg": text, "img": "" }));
            assert_eq!(ack["ok"], true, "{ack}");
            assert_eq!(reader.event("message")[0]["seq"], ack["seq"], "the reader misses nothing");
            said += 1;
            writer.forget();
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "not evicted after {said} messages");
    }
    assert!(server.metric("throng_sessions_closed_total", "slow_consumer") >= Some(1.0));
    let roster = reader.event("roomout");
    assert_eq!(roster[1]["online"], 2, "after {said} messages: {:#?}", server.log());
    // What was on its way is still there, and behind it the reason.
    stuck.ws.set_timeout(Duration::from_secs(20));
    let end = stuck.ws.end();
    assert!(matches!(end.code(), 4001 | 1006), "{end:?}");
    assert!(server.rss() < 400 << 20, "{} bytes", server.rss());
}
