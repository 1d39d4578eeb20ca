//! Chapter 7: errors.

use super::prelude::*;

cases! {
    with_ack "err.with-ack" ["ERR-1", "ERR-4", "ERR-5", "ERR-7"] over EVERY needs CHAT
        does "sends events that are refused for every reason, with ack id"
        expects "{ok: false, code, message} and no event; the session stays usable";
    without_ack "err.without-ack" ["ERR-2", "ERR-4", "ERR-5", "ERR-7"] over EVERY needs CHAT
        does "sends events that are refused for every reason, without ack id"
        expects "chat_error with exactly event, code and message, to that session only";
    no_identity "err.no-identity" ["ERR-3", "CHAT-10"] over EVERY needs CHAT
        does "sends every event without identity, with and without ack id"
        expects "`login` with \"Login to enter chat room\", or unauthenticated with that text";
    long_name "err.long-name" ["ERR-6", "LIM-25"] over EVERY needs CHAT
        does "sends an unknown event with a name of 1000 characters"
        expects "chat_error contains the first 64 characters";
    unknown_event "err.unknown-event" ["ERR-8"] over EVERY needs CHAT
        does "sends unknown events with unusual names and arguments, with and without identity"
        expects "unknown_event";
    bad_argument "err.bad-argument" ["ERR-9"] over EVERY needs CHAT
        does "sends events whose argument is not an object, and events without argument"
        expects "invalid_argument";
    order_of_errors "err.order" ["ERR-10", "ERR-11"] over EVERY needs CHAT
        does "sends events with two errors"
        expects "identity is checked first, then argument, room, membership";
}

/// Events for each error code that a black-box test can cause.
fn refused_events(room: u64) -> Vec<(&'static str, Value, &'static str)> {
    let long = "x".repeat(2_001);
    vec![
        ("room", json!({}), "invalid_argument"),
        ("room", json!({ "roomid": room, "presence": "some" }), "invalid_argument"),
        ("roomout", json!({ "roomid": "one" }), "invalid_argument"),
        ("message", json!({ "msg": "", "img": "", "roomid": room }), "invalid_argument"),
        ("message", json!({ "msg": 7, "roomid": room }), "invalid_argument"),
        ("message", message(unknown_room(room), "nowhere"), "unknown_room or not_member"),
        ("message", message(room, &long), "too_large"),
        ("message", json!({ "img": "javascript:alert(1)", "roomid": room }), "image_invalid"),
        ("shout", json!({}), "unknown_event"),
    ]
}

fn with_ack(context: &Context) -> Outcome {
    let (room, guest) = guest_in_room(context)?;
    guest.event("room")?;
    for (name, arg, code) in refused_events(room) {
        context.step(format!("{name} that is refused as {code}"));
        let answer = guest.ask(name, arg)?;
        has_exactly("the ack", &answer, &["ok", "code", "message"])?;
        refuses_as(&answer, code)?;
        let text = answer["message"].as_str().unwrap_or("");
        require(!text.is_empty() && text.is_ascii(), "an English text", || answer.to_string())?;
        let quoted = ["shout", "javascript", "nowhere"];
        let quotes = quoted.iter().any(|word| text.contains(word));
        require(!quotes, "a text that quotes nothing of the client", || answer.to_string())?;
    }
    guest.say(room, "still here")?;
    let event = guest.event_where("the message", |event| {
        event.name == "message" || event.name == "chat_error"
    })?;
    equal("the next event", &event.name, &"message".to_owned())
}

fn without_ack(context: &Context) -> Outcome {
    let (room, guest) = guest_in_room(context)?;
    let witness = observer_in(context, room, "witness")?;
    for (name, arg, code) in refused_events(room) {
        context.step(format!("{name} that is refused as {code}"));
        guest.emit(name, arg)?;
        let error = guest.event("chat_error")?;
        equal("the number of arguments", &error.args.len(), &1)?;
        has_exactly("chat_error", error.arg(0), &["event", "code", "message"])?;
        let observed = error.arg(0)["code"].as_str().unwrap_or("");
        require(code.split(" or ").any(|code| code == observed), code, || {
            error.arg(0).to_string()
        })?;
        has_fields(error.arg(0), json!({ "event": name }))?;
    }
    guest.say_to(&witness, room, "still here")?;
    never("no error for others", &witness.socket, |event| event.name == "chat_error")
}

const LOGIN_TEXT: &str = "Login to enter chat room";

fn no_identity(context: &Context) -> Outcome {
    let (room, witness) = watched_room(context)?;
    let socket = context.socket()?;
    let bare = throng_spec::client_events().map(|name| (name, json!({})));
    for (name, arg) in bare.chain([
        ("room", json!({ "roomid": room })),
        ("room", json!({ "roomid": "1", "name": false, "src": false, "api_token": false })),
        ("roomout", json!({ "roomid": room, "api_token": "" })),
        ("message", message(room, "without identity")),
    ]) {
        context.step(format!("{name} {arg}"));
        let answer = socket.ask(name, std::slice::from_ref(&arg), context.wait())?;
        refuses(&answer, "unauthenticated")?;
        has_fields(&answer, json!({ "message": LOGIN_TEXT }))?;
        require(socket.event_count() == 0, "no event besides the ack", || shown(&socket.events()))?;
    }
    socket.emit("room", &[json!({ "roomid": room })])?;
    let event = socket.wait_event(context.wait(), "an event", |_| true)?;
    equal("the event", &event.name, &"login".to_owned())?;
    equal("its arguments", &event.args, &vec![json!(LOGIN_TEXT)])?;
    witness.say(room, "alone")?;
    never("no other user joined the room", &witness.socket, |event| {
        is_roster_of(event, room) && roster_ids(event.arg(0)).len() != 1
    })
}

fn long_name(context: &Context) -> Outcome {
    let guest = context.guest("guest")?;
    let name = "é".repeat(1_000);
    guest.emit(&name, json!({}))?;
    let error = guest.event("chat_error")?;
    let wanted: String = name.chars().take(64).collect();
    has_fields(error.arg(0), json!({ "event": wanted }))
}

fn unknown_event(context: &Context) -> Outcome {
    let guest = context.guest("guest")?;
    for name in ["", "Login", "messages", "chat_error", "count", "presence", "__proto__", "a b"] {
        refuses(&guest.ask(name, json!({}))?, "unknown_event")?;
    }
    refuses(&guest.ask("nope", json!("no object"))?, "unknown_event")?;
    let anonymous = context.socket()?;
    refuses(&anonymous.ask("nope", &[json!({})], context.wait())?, "unknown_event")
}

fn bad_argument(context: &Context) -> Outcome {
    let guest = context.guest("guest")?;
    for name in throng_spec::client_events() {
        for arg in each(json!([null, "1", 1, [], [{ "roomid": 1 }], true])) {
            refuses_event(&guest, name, &arg, "invalid_argument")?;
        }
    }
    for name in ["room", "roomout", "message"] {
        refuses(&guest.socket.ask(name, &[], context.wait())?, "invalid_argument")?;
    }
    accepts(&guest.socket.ask("login", &[], context.wait())?)
}

fn order_of_errors(context: &Context) -> Outcome {
    let room = context.room()?;
    let socket = context.socket()?;
    let ask = |name: &str, arg: Value| socket.ask(name, &[arg], context.wait());
    context.step("without identity, with bad arguments, unknown rooms and unknown events");
    refuses(&ask("room", json!({ "roomid": "x" }))?, "unauthenticated")?;
    refuses(&ask("message", json!({ "roomid": 0, "msg": 1 }))?, "unauthenticated")?;
    refuses(&ask("message", json!("x"))?, "invalid_argument")?;
    refuses(&ask("shout", json!("x"))?, "unknown_event")?;
    let guest = context.guest("guest")?;
    let unknown = unknown_room(room);
    context.step("with identity, outside the room");
    refuses(&guest.ask("message", json!({ "roomid": unknown, "msg": 1 }))?, "invalid_argument")?;
    refuses_as(&guest.ask("message", message(unknown, "x"))?, "unknown_room or not_member")?;
    let _other = observer_in(context, room, "other")?;
    refuses(&guest.ask("message", json!({ "roomid": room, "msg": "" }))?, "invalid_argument")?;
    refuses(&guest.ask("message", message(room, "x"))?, "not_member")
}
