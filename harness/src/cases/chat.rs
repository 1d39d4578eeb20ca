//! Chapter 4: identity, login, rooms.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::*;
use crate::capabilities::Need;
use crate::case::{Case, case};
use crate::client::chat::{Chat, is_roster_of, message, roster_ids};
use crate::client::options::Options;
use crate::client::rest::User;
use crate::client::socket::Socket;
use crate::combo::{EIO3, EIO4, EVERY, NONE};
use crate::context::{Context, QUIET};
use crate::outcome::{Outcome, equal, fail, require};

const CHAT: &[Need] = &[Need::Chat];

pub const CASES: &[Case] = &[
    case(
        "id.sources",
        &["CHAT-2", "SIO-19"],
        EVERY,
        CHAT,
        (
            "shows a token in the query, in an Authorization header and in an event",
            "the session acts as the token's user each time",
        ),
        sources,
    ),
    case(
        "id.connect-payload",
        &["SIO-18", "CHAT-2", "SIO-19"],
        EIO4,
        CHAT,
        (
            "shows tokens in the CONNECT payload: api_token, token, both, invalid, over one in the query",
            "api_token before token, the newest valid one wins, an invalid one changes nothing",
        ),
        connect_payload,
    ),
    case(
        "id.query-before-bearer",
        &["CHAT-3"],
        EVERY,
        CHAT,
        (
            "shows one token in the query and another as bearer",
            "the query's, if it is there at all",
        ),
        query_before_bearer,
    ),
    case(
        "id.no-token-in-event",
        &["CHAT-4"],
        EVERY,
        CHAT,
        ("joins with api_token absent, false, null and empty", "the session's identity acts"),
        no_token_in_event,
    ),
    case(
        "id.invalid-token-in-event",
        &["CHAT-5", "CHAT-8", "ERR-3", "REST-11"],
        EVERY,
        CHAT,
        (
            "sends events with tokens of other types, shapes, and unknown ones",
            "unauthenticated, no effect, and the session's identity stays",
        ),
        invalid_token_in_event,
    ),
    case(
        "id.other-user",
        &["CHAT-6", "CHAT-50", "PRES-27"],
        EVERY,
        CHAT,
        (
            "joins as one user, then sends an event with another user's token",
            "the session leaves all rooms as the first and acts as the second",
        ),
        other_user,
    ),
    case(
        "id.same-user",
        &["CHAT-7"],
        EVERY,
        CHAT,
        ("sends an event with a second valid token of the same user", "no membership changes"),
        same_user,
    ),
    case(
        "id.logout",
        &["CHAT-11", "REST-20"],
        EVERY,
        CHAT,
        (
            "logs out a token that one of two sessions of a user was opened with",
            "that session is anonymous and out of its rooms, the other stays",
        ),
        logout,
    ),
    case(
        "id.logout-told",
        &["CHAT-12"],
        EVERY,
        CHAT,
        ("logs out a session's token", "it gets the event login with the text"),
        logout_told,
    ),
    case(
        "id.keeps-open-after-expiry",
        &["CHAT-13"],
        NONE,
        CHAT,
        ("logs in again elsewhere while a session stays connected", "the session goes on"),
        keeps_open,
    ),
    case(
        "id.cookie",
        &["CHAT-14", "REST-4"],
        EVERY,
        CHAT,
        ("connects with the cookie of a login and no token", "the session is anonymous"),
        cookie,
    ),
    case(
        "id.not-inherited",
        &["CHAT-10", "CHAT-1"],
        EVERY,
        CHAT,
        (
            "closes sessions with identity and opens new ones without",
            "the new sessions are anonymous",
        ),
        not_inherited,
    ),
    case(
        "login.count",
        &["CHAT-15", "UNR-1", "UNR-6"],
        EVERY,
        CHAT,
        ("sends login without ack id", "one event count with a number for each known room"),
        login_count,
    ),
    case(
        "login.ack",
        &["CHAT-16"],
        EVERY,
        CHAT,
        (
            "sends login with ack id",
            "ok, user with exactly id, name, avatar, and count as in the event",
        ),
        login_ack,
    ),
    case(
        "login.not-needed",
        &["CHAT-17", "UNR-3"],
        EVERY,
        CHAT,
        ("joins and talks without ever sending login", "all of it works"),
        not_needed,
    ),
    case(
        "room.ids",
        &["CHAT-18", "CHAT-49"],
        EVERY,
        CHAT,
        ("joins by number and by string of digits", "both name the same room"),
        room_ids,
    ),
    case(
        "room.bad-ids",
        &["CHAT-19", "LIM-25"],
        EVERY,
        CHAT,
        (
            "joins and leaves with ids that are missing, false, 0, negative, fractional, too long, of other types",
            "invalid_argument for each",
        ),
        bad_ids,
    ),
    case(
        "room.unknown",
        &["CHAT-20", "LIM-16"],
        EVERY,
        CHAT,
        ("leaves and posts to a room that does not exist", "unknown_room"),
        unknown,
    ),
    case(
        "room.defaults",
        &["CHAT-21", "LIM-28"],
        NONE,
        CHAT,
        ("asks for the rooms", "1 and 2 are among them"),
        defaults,
    ),
    case(
        "room.join",
        &["CHAT-22", "CHAT-23", "CHAT-24", "PRES-10"],
        EVERY,
        CHAT,
        (
            "joins a room, with ack id and without",
            "one event room with the own user in it; the ack",
        ),
        join,
    ),
    case(
        "room.join-is-effective",
        &["CHAT-25", "CHAT-69"],
        EVERY,
        CHAT,
        (
            "joins, leaves and joins again while another member talks",
            "every message after the ack's seq, none of those before",
        ),
        join_is_effective,
    ),
    case(
        "room.repeated",
        &["CHAT-26", "PRES-22"],
        EVERY,
        CHAT,
        ("joins twice", "the second is answered to that session only; online does not grow"),
        repeated,
    ),
    case(
        "room.many",
        &["CHAT-27"],
        EIO4,
        CHAT,
        ("joins three rooms on Engine.IO 4", "messages of all three come"),
        many,
    ),
    case(
        "room.one-at-a-time",
        &["CHAT-28", "CHAT-29", "CHAT-50"],
        EIO3,
        CHAT,
        (
            "joins a second room on Engine.IO 3",
            "the first is left: its members get roomout, the session nothing more about it",
        ),
        one_at_a_time,
    ),
    case(
        "room.limit",
        &["CHAT-30", "LIM-11"],
        EIO4,
        CHAT,
        ("joins room after room", "room_limit beyond the limit, and leaving one makes place again"),
        room_limit,
    ),
    case(
        "room.presence-values",
        &["CHAT-31"],
        EVERY,
        CHAT,
        ("joins with presence values, good and bad", "the good work, the bad are invalid_argument"),
        presence_values,
    ),
    case(
        "room.leave",
        &["CHAT-32", "CHAT-33", "CHAT-34", "PRES-21"],
        EVERY,
        CHAT,
        (
            "leaves, with another session of the same user inside and without",
            "roomout with the roster after the leave, to the leaver and the others",
        ),
        leave,
    ),
    case(
        "room.leave-outside",
        &["CHAT-35"],
        EVERY,
        CHAT,
        (
            "leaves a room it is not in, with ack id and without",
            "the ack, or roomout with {}, to that session alone, and no change",
        ),
        leave_outside,
    ),
    case(
        "room.nothing-after-leave",
        &["CHAT-36"],
        EVERY,
        CHAT,
        ("leaves while another member talks without pause", "no message of the room after roomout"),
        nothing_after_leave,
    ),
    case(
        "tabs.all-hear",
        &["CHAT-70", "PRES-5"],
        EVERY,
        CHAT,
        (
            "lets three sessions of one user join",
            "each hears each message; one entry in the roster",
        ),
        all_hear,
    ),
    case(
        "tabs.one-leaves",
        &["CHAT-71", "CHAT-72", "PRES-12", "PRES-22"],
        EVERY,
        CHAT,
        (
            "lets two sessions of a user join, ends one by roomout, by close, by reset",
            "the user stays present, nothing is told, the other session still hears",
        ),
        one_tab_leaves,
    ),
    case(
        "end.every-way",
        &["CHAT-80", "CHAT-81", "CHAT-50", "PRES-27", "LIM-19"],
        EVERY,
        CHAT,
        (
            "ends sessions inside a room by close, by 41, by FIN and by RST",
            "the others see each leave at once",
        ),
        every_way,
    ),
];

/// Whether this session acts as this user.
fn acts_as(context: &Context, socket: &Socket, user: Option<&User>) -> Outcome {
    let answer = socket.ask("login", &[json!({})], context.wait())?;
    match user {
        Some(user) => {
            require(answer["user"]["id"] == json!(user.id), "the identity of the token", || {
                format!("{answer} instead of user {}", user.id)
            })
        }
        None => refuses(&answer, "unauthenticated"),
    }
}

fn sources(context: &Context) -> Outcome {
    let user = context.user()?;
    let other = context.user()?;
    let connect = |options: Options| Socket::connect(context.target(), options, &context.log);
    context.step("in the query");
    let socket = connect(Options { token: Some(user.token.clone()), ..context.options() })?;
    acts_as(context, &socket, Some(&user))?;
    context.step("as bearer");
    let socket = connect(Options { bearer: Some(other.token.clone()), ..context.options() })?;
    acts_as(context, &socket, Some(&other))?;
    context.step("in an event");
    let socket = connect(context.options())?;
    acts_as(context, &socket, None)?;
    let arg = json!({ "api_token": user.token });
    accepts(&socket.ask("login", &[arg], context.wait())?)?;
    acts_as(context, &socket, Some(&user))
}

fn connect_payload(context: &Context) -> Outcome {
    let (one, two) = (context.user()?, context.user()?);
    let connect = |token: Option<&User>, auth: Value| {
        let options = Options {
            token: token.map(|user| user.token.clone()),
            auth: Some(auth),
            ..context.options()
        };
        Socket::connect(context.target(), options, &context.log)
    };
    let socket = connect(None, json!({ "api_token": one.token }))?;
    acts_as(context, &socket, Some(&one))?;
    let socket = connect(None, json!({ "token": two.token }))?;
    acts_as(context, &socket, Some(&two))?;
    let socket = connect(None, json!({ "token": two.token, "api_token": one.token }))?;
    acts_as(context, &socket, Some(&one))?;
    context.step("over a token in the query");
    let socket = connect(Some(&one), json!({ "api_token": two.token }))?;
    acts_as(context, &socket, Some(&two))?;
    context.step("invalid ones");
    for auth in [
        json!({ "api_token": "x" }),
        json!({ "api_token": 1 }),
        json!({ "api_token": "z".repeat(60) }),
    ] {
        let socket = connect(Some(&one), auth.clone())?;
        acts_as(context, &socket, Some(&one))?;
        let socket = connect(None, auth)?;
        acts_as(context, &socket, None)?;
    }
    Ok(())
}

fn query_before_bearer(context: &Context) -> Outcome {
    let (one, two) = (context.user()?, context.user()?);
    let connect = |query: &str| {
        let options = Options {
            token: Some(query.to_owned()),
            bearer: Some(two.token.clone()),
            ..context.options()
        };
        Socket::connect(context.target(), options, &context.log)
    };
    acts_as(context, &connect(&one.token)?, Some(&one))?;
    for absent in ["", "false", "null"] {
        acts_as(context, &connect(absent)?, Some(&two))?;
    }
    Ok(())
}

fn no_token_in_event(context: &Context) -> Outcome {
    let room = context.room()?;
    let guest = context.guest("guest")?;
    for token in [None, Some(json!(false)), Some(json!(null)), Some(json!(""))] {
        let mut arg = json!({ "roomid": room });
        if let Some(token) = token {
            arg["api_token"] = token;
        }
        accepts(&guest.ask("room", arg)?)?;
        let event = guest.event("room")?;
        require(
            roster_ids(event.arg(0)).contains(&guest.user.id),
            "the own user in the roster",
            || event.arg(0).to_string(),
        )?;
    }
    Ok(())
}

fn invalid_token_in_event(context: &Context) -> Outcome {
    let room = context.room()?;
    let (guest, witness) = (context.guest("guest")?, context.observer("witness")?);
    witness.join(room)?;
    let twisted: String = guest.user.token.chars().rev().collect();
    let tokens = [
        json!(1),
        json!(0),
        json!(true),
        json!([guest.user.token]),
        json!({ "token": guest.user.token }),
        json!("short"),
        json!("z".repeat(60)),
        json!(twisted),
        json!(format!("{} ", guest.user.token)),
        json!("false"),
    ];
    for token in tokens {
        context.step(format!("api_token: {token}"));
        let arg = json!({ "roomid": room, "api_token": token });
        refuses(&guest.ask("room", arg.clone())?, "unauthenticated")?;
        refuses(&guest.ask("login", json!({ "api_token": token }))?, "unauthenticated")?;
    }
    guest.emit("room", json!({ "roomid": room, "api_token": 1 }))?;
    let told = guest.event("login")?;
    equal("the text", told.arg(0), &json!("Login to enter chat room"))?;
    context.step("inside the room, an invalid token does not act either");
    guest.join(room)?;
    let mut forged = message(room, "forged");
    forged["api_token"] = json!("z".repeat(60));
    refuses(&guest.ask("message", forged)?, "unauthenticated")?;
    guest.say(room, "genuine")?;
    witness.message_with("genuine")?;
    equal("the messages heard", &witness.messages(room).len(), &1)
}

fn other_user(context: &Context) -> Outcome {
    let (room, elsewhere) = (context.room()?, context.room()?);
    let witness = context.observer("witness")?;
    witness.join(room)?;
    let guest = context.guest("guest")?;
    guest.join(room)?;
    witness.roster_of(room, &[witness.user.id, guest.user.id])?;
    let second = context.user()?;
    let arg = json!({ "roomid": elsewhere, "api_token": second.token });
    accepts(&guest.ask("room", arg)?)?;
    let event = guest.socket.wait_event(context.wait(), "the new room's roster", |event| {
        is_roster_of(event, elsewhere)
    })?;
    equal("the users in the new room", &ids(event.arg(0)), &vec![second.id])?;
    witness.roster_of(room, &[witness.user.id])?;
    refuses(&guest.ask("message", message(room, "as the old user"))?, "not_member")?;
    acts_as(context, &guest.socket, Some(&second))
}

fn ids(roster: &Value) -> Vec<u64> {
    roster_ids(roster).into_iter().collect()
}

fn same_user(context: &Context) -> Outcome {
    let room = context.room()?;
    let (guest, witness) = (context.guest("guest")?, context.observer("witness")?);
    guest.join(room)?;
    witness.join(room)?;
    let again = context.rest().login(&guest.user.email)?;
    require(again.token != guest.user.token, "a new token", || again.token.clone())?;
    witness.socket.skip();
    let mut arg = message(room, "with the second token");
    arg["api_token"] = json!(again.token);
    accepts(&guest.ask("message", arg)?)?;
    witness.message_with("with the second token")?;
    let told = rosters_since(&witness, 0, room);
    equal(
        "the last roster",
        told.last().unwrap_or(&Vec::new()),
        &sorted(&[guest.user.id, witness.user.id]),
    )
}

fn sorted(ids: &[u64]) -> Vec<u64> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids
}

fn rosters_since(chat: &Chat, index: usize, room: u64) -> Vec<Vec<u64>> {
    let events = chat.socket.events_since(index);
    events.iter().filter(|event| is_roster_of(event, room)).map(|event| ids(event.arg(0))).collect()
}

fn logout(context: &Context) -> Outcome {
    let room = context.room()?;
    let witness = context.observer("witness")?;
    witness.join(room)?;
    let user = context.user()?;
    let again = context.rest().login(&user.email)?;
    let (gone, kept) = (context.chat(&user, "gone")?, context.chat(&again, "kept")?);
    gone.join(room)?;
    witness.roster_of(room, &[witness.user.id, user.id])?;
    let answer = context.rest().post("/api/logout", &json!({ "api_token": user.token }))?;
    equal("errno", &answer.json()["errno"], &json!(0))?;
    witness.roster_of(room, &[witness.user.id])?;
    acts_as(context, &gone.socket, None)?;
    acts_as(context, &kept.socket, Some(&again))?;
    refuses(&gone.ask("login", json!({ "api_token": user.token }))?, "unauthenticated")?;
    equal("GET /api/user", &context.rest().get_as("/api/user", &user.token)?.status, &401)
}

fn logout_told(context: &Context) -> Outcome {
    let guest = context.guest("guest")?;
    context.rest().post("/api/logout", &json!({ "api_token": guest.user.token }))?;
    let told = guest.event("login")?;
    equal("the text", told.arg(0), &json!("Login to enter chat room"))
}

fn keeps_open(context: &Context) -> Outcome {
    let guest = context.guest("guest")?;
    context.rest().login(&guest.user.email)?;
    context.pause(QUIET);
    acts_as(context, &guest.socket, Some(&guest.user))
}

fn cookie(context: &Context) -> Outcome {
    let user = context.user()?;
    let body = json!({ "name": user.email, "password": crate::client::rest::PASSWORD });
    let answer = context.rest().post("/api/login", &body)?;
    let (cookie, _) = super::rest::set_cookie(&answer)?;
    for value in [cookie, user.token.clone()] {
        let headers = vec![("Cookie".to_owned(), format!("throng_session={value}"))];
        let options = Options { headers, ..context.options() };
        let socket = Socket::connect(context.target(), options, &context.log)?;
        acts_as(context, &socket, None)?;
    }
    Ok(())
}

fn not_inherited(context: &Context) -> Outcome {
    let room = context.room()?;
    for _ in 0..4 {
        let guest = context.guest("guest")?;
        guest.join(room)?;
        guest.socket.close();
        context.pause(Duration::from_millis(30));
        let socket = context.socket()?;
        acts_as(context, &socket, None)?;
    }
    Ok(())
}

fn login_count(context: &Context) -> Outcome {
    let guest = context.guest("guest")?;
    let known = context.rest().rooms(&guest.user.token)?;
    // A room that another case makes just now may not have got about yet (NODE-13).
    context.pause(if context.nodes() > 1 { Duration::from_millis(1_500) } else { QUIET * 2 });
    guest.socket.skip();
    guest.emit("login", json!({ "name": guest.user.email }))?;
    // Updates name changed rooms only; the answer names room 1, where nothing happens here.
    let what = "a count of all rooms";
    let event = guest.socket.wait_event(context.wait(), what, |event| {
        event.name == "count" && event.arg(0).get("room1").is_some()
    })?;
    equal("the number of arguments", &event.args.len(), &1)?;
    let counts = event.arg(0).as_object().cloned().unwrap_or_default();
    for (key, value) in &counts {
        let digits = key.strip_prefix("room").filter(|id| id.parse::<u64>().is_ok());
        require(digits.is_some() && value.is_u64(), "room and its id: a number", || {
            format!("{key}: {value}")
        })?;
    }
    let missing: Vec<&Value> = known
        .iter()
        .map(|room| &room["id"])
        .filter(|id| !counts.contains_key(&format!("room{id}")))
        .collect();
    require(counts.len() <= 1_000, "1000 rooms at most", || format!("{} rooms", counts.len()))?;
    require(known.len() > 900 || missing.is_empty(), "every known room", || {
        format!("{missing:?} missing")
    })
}

fn login_ack(context: &Context) -> Outcome {
    let guest = context.guest("guest")?;
    let answer = guest.ask("login", json!({}))?;
    let wanted =
        json!({ "id": guest.user.id, "name": guest.user.name, "avatar": guest.user.avatar });
    equal("user", &answer["user"], &wanted)?;
    let events = guest.socket.events();
    let same = events.iter().any(|e| e.name == "count" && *e.arg(0) == answer["count"]);
    require(same, "an event count that equals that of the ack", || format!("{}", answer["count"]))
}

fn not_needed(context: &Context) -> Outcome {
    let room = context.room()?;
    let (guest, witness) = (context.guest("guest")?, context.observer("witness")?);
    witness.join(room)?;
    guest.join(room)?;
    guest.say(room, "never logged in")?;
    witness.message_with("never logged in")?;
    guest.leave(room)?;
    Ok(())
}

fn room_ids(context: &Context) -> Outcome {
    let room = context.room()?;
    let (one, two) = (context.guest("one")?, context.guest("two")?);
    one.join(room)?;
    accepts(&two.ask("room", json!({ "roomid": room.to_string() }))?)?;
    one.roster_of(room, &[one.user.id, two.user.id])?;
    accepts(&two.ask("message", json!({ "roomid": room.to_string(), "msg": "by string" }))?)?;
    let event = one.message_with("by string")?;
    equal("roomid", &event["roomid"], &json!(room))
}

fn bad_ids(context: &Context) -> Outcome {
    let guest = context.guest("guest")?;
    let mut args = vec![json!({})];
    let ids = [
        json!(false),
        json!(null),
        json!(""),
        json!(0),
        json!("0"),
        json!(-1),
        json!("-1"),
        json!(1.5),
        json!("1.5"),
        json!(" 1"),
        json!("1 "),
        json!("+1"),
        json!("0x1"),
        json!("one"),
        json!(true),
        json!([1]),
        json!({ "id": 1 }),
        json!(1_000_000_000u64),
        json!("1000000000"),
        json!("١"),
    ];
    args.extend(ids.into_iter().map(|id| json!({ "roomid": id })));
    for arg in args {
        for name in ["room", "roomout"] {
            let answer = guest.ask(name, arg.clone())?;
            require(answer["code"] == json!("invalid_argument"), "invalid_argument", || {
                format!("{answer} for {name} {arg}")
            })?;
        }
    }
    Ok(())
}

fn unknown(context: &Context) -> Outcome {
    // Rooms are made by joining them; this one never is.
    let room = 1 + (context.run.fresh_room() + 400_000_000) % 999_000_000;
    let guest = context.guest("guest")?;
    let said = guest.ask("message", message(room, "nobody here"))?;
    let left = guest.ask("roomout", json!({ "roomid": room }))?;
    if context.capabilities().rooms_on_demand {
        // Any room may count as one that is there: then the session is just not in it.
        let code = said["code"].as_str().unwrap_or("");
        require(
            matches!(code, "unknown_room" | "not_member"),
            "unknown_room or not_member",
            || said.to_string(),
        )?;
        return require(
            left["ok"] == json!(true) || left["code"] == json!("unknown_room"),
            "ok as from outside, or unknown_room",
            || left.to_string(),
        );
    }
    refuses(&said, "unknown_room")?;
    refuses(&left, "unknown_room")?;
    refuses(&guest.ask("room", json!({ "roomid": room }))?, "unknown_room")
}

fn defaults(context: &Context) -> Outcome {
    let user = context.user()?;
    let rooms = context.rest().rooms(&user.token)?;
    let has = |id: u64| rooms.iter().any(|room| room["id"] == json!(id));
    require(has(1) && has(2), "the rooms 1 and 2", || format!("{rooms:?}"))
}

fn join(context: &Context) -> Outcome {
    let room = context.room()?;
    let (one, two) = (context.guest("one")?, context.guest("two")?);
    one.emit("room", json!({ "roomid": room, "name": "ignored", "src": "ignored" }))?;
    let event = one.event("room")?;
    equal("the number of arguments", &event.args.len(), &2)?;
    equal("the users", &ids(event.arg(0)), &vec![one.user.id])?;
    has_exactly("the meta", event.arg(1), &["room", "seq", "online", "version"])?;
    equal("room", &event.arg(1)["room"], &json!(room))?;
    equal("online", &event.arg(1)["online"], &json!(1))?;
    let answer = two.join(room)?;
    equal("the ack", &answer, &json!({ "ok": true, "room": room, "online": 2, "seq": 0 }))?;
    let event = two.event("room")?;
    equal("the users", &ids(event.arg(0)), &sorted(&[one.user.id, two.user.id]))?;
    one.roster_of(room, &[one.user.id, two.user.id])?;
    two.say(room, "I am a member")?;
    one.message_with("I am a member")?;
    Ok(())
}

fn join_is_effective(context: &Context) -> Outcome {
    let room = context.room()?;
    let (talker, guest) = (context.observer("talker")?, context.guest("guest")?);
    talker.join(room)?;
    let mut allowed: Vec<(u64, u64)> = Vec::new();
    for round in 0..6 {
        talker.say(room, &format!("before {round}"))?;
        let seen = guest.socket.event_count();
        let joined = guest.join(room)?;
        let from = joined["seq"].as_u64().unwrap_or(0);
        for index in 0..5 {
            talker.emit("message", message(room, &format!("round {round} number {index}")))?;
        }
        guest.message_with(&format!("round {round} number 4"))?;
        let left = guest.leave(room)?;
        let to = left["seq"].as_u64().unwrap_or(0);
        allowed.push((from + 1, to));
        let observed: Vec<u64> = guest
            .socket
            .events_since(seen)
            .iter()
            .filter(|event| event.name == "message")
            .filter_map(|event| event.arg(0)["seq"].as_u64())
            .collect();
        let wanted: Vec<u64> = (from + 1..=from + 5).collect();
        equal("the seq of the messages after the join", &observed, &wanted)?;
    }
    context.pause(QUIET);
    let seqs: Vec<u64> =
        guest.messages(room).iter().filter_map(|event| event["seq"].as_u64()).collect();
    let stray = seqs.iter().find(|seq| !allowed.iter().any(|(from, to)| (from..=to).contains(seq)));
    require(stray.is_none(), "no message from outside the membership", || format!("seq {stray:?}"))
}

fn repeated(context: &Context) -> Outcome {
    let room = context.room()?;
    let (guest, witness) = (context.guest("guest")?, context.observer("witness")?);
    witness.join(room)?;
    guest.join(room)?;
    witness.roster_of(room, &[guest.user.id, witness.user.id])?;
    context.pause(QUIET);
    let seen = witness.socket.event_count();
    guest.socket.skip();
    let answer = guest.join(room)?;
    equal("online", &answer["online"], &json!(2))?;
    let event = guest.event("room")?;
    equal("the users", &ids(event.arg(0)), &sorted(&[guest.user.id, witness.user.id]))?;
    context.pause(QUIET);
    let told = rosters_since(&witness, seen, room);
    require(told.is_empty(), "nothing for the others", || format!("{told:?}"))?;
    guest.say(room, "once")?;
    guest.message_with("once")?;
    context.pause(QUIET);
    equal("the copies of a message", &guest.messages(room).len(), &1)
}

fn many(context: &Context) -> Outcome {
    let rooms = [context.room()?, context.room()?, context.room()?];
    let (guest, talker) = (context.guest("guest")?, context.observer("talker")?);
    for room in rooms {
        talker.join(room)?;
        guest.join(room)?;
    }
    for room in rooms {
        talker.say(room, &format!("in {room}"))?;
        guest.message_with(&format!("in {room}"))?;
    }
    talker.roster_of(rooms[0], &[guest.user.id, talker.user.id])?;
    Ok(())
}

fn one_at_a_time(context: &Context) -> Outcome {
    let (first, second) = (context.room()?, context.room()?);
    let (witness, other) = (context.guest("witness")?, context.guest("other")?);
    witness.join(first)?;
    other.join(second)?;
    let guest = context.guest("guest")?;
    guest.join(first)?;
    witness.roster_of(first, &[witness.user.id, guest.user.id])?;
    guest.join(second)?;
    let event = witness.roster_of(first, &[witness.user.id])?;
    equal("the event for the old room", &event.name, &"roomout".to_owned())?;
    other.roster_of(second, &[other.user.id, guest.user.id])?;
    // The acknowledgement may come before the roster.
    guest.roster_of(second, &[other.user.id, guest.user.id])?;
    witness.say(first, "in the old room")?;
    other.say(second, "in the new room")?;
    guest.message_with("in the new room")?;
    context.pause(QUIET);
    let events = guest.socket.events();
    let about_old: Vec<_> = events
        .iter()
        .skip_while(|event| !is_roster_of(event, second))
        .filter(|event| {
            is_roster_of(event, first)
                || event.name == "message" && event.arg(0)["roomid"] == json!(first)
        })
        .collect();
    require(about_old.is_empty(), "nothing more about the old room", || format!("{about_old:?}"))?;
    refuses(&guest.ask("message", message(first, "back there"))?, "not_member")
}

fn room_limit(context: &Context) -> Outcome {
    let guest = context.guest("guest")?;
    let first = context.room()?;
    guest.join(first)?;
    for _ in 0..140 {
        let room = context.room()?;
        let answer = guest.ask("room", json!({ "roomid": room }))?;
        match answer["code"].as_str() {
            None => {}
            Some("rate_limited") => context.pause(Duration::from_millis(150)),
            Some("room_limit") => {
                guest.leave(first)?;
                return accepts(&guest.ask("room", json!({ "roomid": room }))?);
            }
            Some(_) => return fail("room_limit", answer.to_string()),
        }
    }
    crate::outcome::skip(
        "the target lets one session into more than 140 rooms: the limit is lifted",
    )
}

fn presence_values(context: &Context) -> Outcome {
    let room = context.room()?;
    let guest = context.guest("guest")?;
    for value in [json!("full"), json!("delta"), json!("count"), json!(null)] {
        accepts(&guest.ask("room", json!({ "roomid": room, "presence": value }))?)?;
        guest.leave(room)?;
    }
    for value in [
        json!("Full"),
        json!(""),
        json!("none"),
        json!(1),
        json!(true),
        json!(false),
        json!(["full"]),
    ] {
        let answer = guest.ask("room", json!({ "roomid": room, "presence": value }))?;
        require(answer["code"] == json!("invalid_argument"), "invalid_argument", || {
            format!("{answer} for presence {value}")
        })?;
    }
    refuses(&guest.ask("message", message(room, "outside"))?, "not_member")
}

fn leave(context: &Context) -> Outcome {
    let room = context.room()?;
    let (guest, witness) = (context.guest("guest")?, context.observer("witness")?);
    witness.join(room)?;
    guest.join(room)?;
    let tab = context.chat(&guest.user, "tab")?;
    tab.join(room)?;
    witness.roster_of(room, &[guest.user.id, witness.user.id])?;
    context.step("the tab leaves, the user stays");
    let answer = tab.leave(room)?;
    equal("online", &answer["online"], &json!(2))?;
    let event = tab.event("roomout")?;
    equal("the users", &ids(event.arg(0)), &sorted(&[guest.user.id, witness.user.id]))?;
    context.step("the last session leaves");
    let answer = guest.leave(room)?;
    equal("the ack", &answer, &json!({ "ok": true, "room": room, "online": 1, "seq": 0 }))?;
    let event = guest.event("roomout")?;
    equal("the users for the leaver", &ids(event.arg(0)), &vec![witness.user.id])?;
    has_exactly("the meta", event.arg(1), &["room", "seq", "online", "version"])?;
    let event = witness.roster_of(room, &[witness.user.id])?;
    equal("the event for the others", &event.name, &"roomout".to_owned())?;
    refuses(&guest.ask("message", message(room, "outside"))?, "not_member")
}

fn leave_outside(context: &Context) -> Outcome {
    let room = context.room()?;
    let (guest, witness) = (context.guest("guest")?, context.observer("witness")?);
    witness.join(room)?;
    context.pause(QUIET);
    let seen = witness.socket.event_count();
    let answer = guest.leave(room)?;
    equal("the ack", &answer, &json!({ "ok": true, "room": room, "online": 1, "seq": 0 }))?;
    guest.emit("roomout", json!({ "roomid": room }))?;
    let event = guest.event("roomout")?;
    equal("the roster", event.arg(0), &json!({}))?;
    equal("room", &event.arg(1)["room"], &json!(room))?;
    context.pause(QUIET);
    let told = rosters_since(&witness, seen, room);
    require(told.is_empty(), "nothing for the members", || format!("{told:?}"))
}

fn nothing_after_leave(context: &Context) -> Outcome {
    let room = context.room()?;
    let (talker, guest) = (context.observer("talker")?, context.guest("guest")?);
    talker.join(room)?;
    for round in 0..4 {
        guest.join(room)?;
        talker.say(room, &format!("sync {round}"))?;
        guest.message_with(&format!("sync {round}"))?;
        for index in 0..10 {
            talker.emit("message", message(room, &format!("{round}.{index}")))?;
        }
        let seen = guest.socket.event_count();
        guest.emit("roomout", json!({ "roomid": room }))?;
        for index in 10..20 {
            talker.emit("message", message(room, &format!("{round}.{index}")))?;
        }
        talker.message_with(&format!("{round}.19"))?;
        guest.event("roomout")?;
        context.pause(QUIET);
        let events = guest.socket.events_since(seen);
        let out = events.iter().position(|event| event.name == "roomout").unwrap_or(0);
        let late = events[out..].iter().find(|event| event.name == "message");
        require(late.is_none(), "no message after roomout", || format!("{late:?}"))?;
    }
    Ok(())
}

fn all_hear(context: &Context) -> Outcome {
    let room = context.room()?;
    let user = context.user()?;
    let witness = context.observer("witness")?;
    witness.join(room)?;
    let tabs =
        [context.chat(&user, "tab1")?, context.chat(&user, "tab2")?, context.chat(&user, "tab3")?];
    for tab in &tabs {
        tab.join(room)?;
    }
    let event = witness.roster_of(room, &[witness.user.id, user.id])?;
    equal("online", &event.arg(1)["online"], &json!(2))?;
    tabs[0].say(room, "from the first tab")?;
    for tab in &tabs {
        let event = tab.message_with("from the first tab")?;
        equal("userid on the author's own sessions", &event["userid"], &json!(user.email))?;
    }
    witness.say(room, "to all tabs")?;
    for tab in &tabs {
        tab.message_with("to all tabs")?;
    }
    Ok(())
}

fn one_tab_leaves(context: &Context) -> Outcome {
    let room = context.room()?;
    let witness = context.observer("witness")?;
    witness.join(room)?;
    let user = context.user()?;
    let stays = context.chat(&user, "stays")?;
    let answer = stays.join(room)?;
    equal("online", &answer["online"], &json!(2))?;
    witness.roster_of(room, &[witness.user.id, user.id])?;
    context.pause(QUIET);
    for way in ["roomout", "close", "reset"] {
        context.step(format!("a second tab joins and ends by {way}"));
        let seen = witness.socket.event_count();
        let mut tab = context.chat(&user, "tab")?;
        let answer = tab.join(room)?;
        equal("online", &answer["online"], &json!(2))?;
        match way {
            "roomout" => drop(tab.leave(room)?),
            "close" => tab.socket.close(),
            _ => tab.socket.reset(),
        }
        context.pause(QUIET);
        let told = rosters_since(&witness, seen, room);
        require(told.is_empty(), "nothing for the others", || format!("{told:?}"))?;
        witness.say(room, &format!("after {way}"))?;
        stays.message_with(&format!("after {way}"))?;
        stays.say(room, &format!("still here after {way}"))?;
    }
    let answer = witness.join(room)?;
    equal("online", &answer["online"], &json!(2))?;
    stays.leave(room)?;
    witness.roster_of(room, &[witness.user.id])?;
    Ok(())
}

fn every_way(context: &Context) -> Outcome {
    let room = context.room()?;
    let witness = context.observer("witness")?;
    witness.join(room)?;
    for way in ["close", "41", "FIN", "RST"] {
        context.step(way);
        let mut guest = context.guest("guest")?;
        guest.join(room)?;
        witness.roster_of(room, &[witness.user.id, guest.user.id])?;
        let start = std::time::Instant::now();
        match way {
            "close" => guest.socket.close(),
            "41" => guest.socket.send_text(&disconnect(context))?,
            "FIN" => guest.socket.hang_up(),
            _ => guest.socket.reset(),
        }
        let event = witness.roster_of(room, &[witness.user.id])?;
        equal("the event", &event.name, &"roomout".to_owned())?;
        let took = start.elapsed();
        require(took < Duration::from_millis(2_500), "at once", || format!("after {took:?}"))?;
    }
    Ok(())
}

fn disconnect(context: &Context) -> String {
    use crate::client::options::Transport;
    use throng_codec::engine::{Packet, Protocol};
    match (context.combo.transport, context.combo.protocol) {
        (Transport::Polling, Protocol::Eio3) => {
            throng_codec::payload::encode_text(Protocol::Eio3, &[Packet::message("1")])
        }
        _ => "41".to_owned(),
    }
}
