//! An acknowledged message survives the sudden death of the server.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use throng_tests::chat::{Session, User, register};
use throng_tests::server::{Plan, Server};
use throng_tests::{Signal, http};

/// The whole history of a room: seq to text.
fn history(server: &Server, user: &User, room: u64) -> BTreeMap<u64, String> {
    let mut all = BTreeMap::new();
    for page in 1.. {
        let path =
            format!("/api/history/message?roomid={room}&current={page}&api_token={}", user.token);
        let answer = http::get(server.address, &path).json();
        let rows = answer["data"]["data"].as_array().expect("a page").clone();
        if rows.is_empty() {
            break;
        }
        for row in rows {
            let seq = row["seq"].as_u64().expect("a row has its seq");
            let text = row["msg"].as_str().expect("a row has its text").to_owned();
            assert_eq!(all.insert(seq, text), None, "seq {seq} twice");
        }
    }
    all
}

#[test]
fn acked_messages_survive_kill_9() {
    for shards in [1, 3] {
        let mut server = Plan::throng(shards).args(&["--unlimited"]).start();
        let user = register(server.address, "durable");
        let mut acked: BTreeMap<u64, String> = BTreeMap::new();
        for round in 0..4 {
            let mut session = Session::open(server.address, Some(&user));
            session.join(1);
            // Many in flight, then death after some acknowledgements.
            let mut sent: BTreeMap<u64, String> = BTreeMap::new();
            for index in 0..200 {
                let text = format!("round {round} message {index}");
                let id = session.post("message", &json!({ "roomid": 1, "msg": text, "img": "" }));
                sent.insert(id, text);
            }
            let mut seen = 0;
            while seen < 20 + round * 40 {
                let packet = session.ws.packet().expect("the server lives");
                let Some(rest) = packet.strip_prefix("43") else { continue };
                let (id, args) = rest.split_once('[').expect("an ack has arguments");
                let args: Value = serde_json::from_str(&format!("[{args}")).expect("JSON");
                assert_eq!(args[0]["ok"], true, "{packet}");
                let text = sent[&id.parse::<u64>().expect("an ack id")].clone();
                acked.insert(args[0]["seq"].as_u64().expect("an ack has its seq"), text);
                seen += 1;
            }
            server.restart(Signal::KILL);
            let kept = history(&server, &user, 1);
            for (seq, text) in &acked {
                assert_eq!(kept.get(seq), Some(text), "{shards} shards: acknowledged, then lost");
            }
            let last = kept.keys().next_back().copied().unwrap_or_default();
            let numbers: Vec<u64> = kept.keys().copied().collect();
            assert_eq!(
                numbers,
                (1..=last).collect::<Vec<_>>(),
                "{shards} shards: a gap in the room"
            );
        }
        let kept = history(&server, &user, 1);
        let mut session = Session::open(server.address, Some(&user));
        session.join(1);
        let next = session.say(1, "after all")["seq"].as_u64().expect("an ack has its seq");
        assert_eq!(next, kept.len() as u64 + 1, "{shards} shards");
    }
}

#[test]
fn presence_is_right_after_kill_9() {
    let mut server = Plan::throng(3).start();
    let users: Vec<User> = (0..3).map(|_| register(server.address, "presence")).collect();
    let mut sessions: Vec<Session> =
        users.iter().map(|user| Session::open(server.address, Some(user))).collect();
    for session in &mut sessions {
        session.join(2);
    }
    server.restart(Signal::KILL);
    let mut back = Session::open(server.address, Some(&users[0]));
    assert_eq!(back.join(2)["online"], 1, "no other user has come back");
}

#[test]
fn unread_marks_survive_a_restart() {
    let mut server = Plan::throng(2).start();
    let (anna, boris) = (register(server.address, "anna"), register(server.address, "boris"));
    let mut writer = Session::open(server.address, Some(&anna));
    writer.join(1);
    let mut reader = Session::open(server.address, Some(&boris));
    reader.join(1);
    writer.say(1, "read");
    reader.event("message");
    assert_eq!(reader.ask("roomout", &json!({ "roomid": 1 }))["ok"], true);
    for text in ["unread one", "unread two"] {
        writer.say(1, text);
    }
    server.restart(Signal::TERM);
    let mut reader = Session::open(server.address, Some(&boris));
    assert_eq!(reader.ask("login", &json!({}))["count"]["room1"], 2);
}

#[test]
fn ephemeral_rooms_keep_no_message() {
    let mut server = Plan::throng(1).args(&["--ephemeral"]).start();
    let user = register(server.address, "ephemeral");
    let mut session = Session::open(server.address, Some(&user));
    session.join(1);
    assert_eq!(session.say(1, "gone with the wind")["ok"], true);
    assert_eq!(session.event("message")[0]["msg"], "gone with the wind");
    server.restart(Signal::TERM);
    assert!(history(&server, &user, 1).is_empty());
}
