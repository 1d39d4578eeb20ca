//! Chapter 4: identity and login.

use super::prelude::*;
use crate::client::state::Event;

cases! {
    sources "id.sources" ["CHAT-2", "SIO-19"] over EVERY needs CHAT
        does "sends a token in the query, in the Authorization header and in an event"
        expects "the session acts as the user of the token each time";
    connect_payload "id.connect-payload" ["SIO-18", "CHAT-2", "SIO-19"] over EIO4 needs CHAT
        does "sends tokens in the CONNECT payload: api_token, token, both, invalid, and over one in the query"
        expects "api_token before token; the newest valid token wins; an invalid one changes nothing";
    query_before_bearer "id.query-before-bearer" ["CHAT-3"] over EVERY needs CHAT
        does "sends one token in the query and another as bearer token"
        expects "the token of the query is used if it is present";
    no_token_in_event "id.no-token-in-event" ["CHAT-4"] over EVERY needs CHAT
        does "joins with api_token missing, false, null and empty"
        expects "the session's identity is used";
    invalid_token_in_event "id.invalid-token-in-event" ["CHAT-5", "CHAT-8", "ERR-3", "REST-11"] over EVERY needs CHAT_OF_NEW_USERS
        does "sends events with tokens of wrong types and shapes, and with unknown tokens"
        expects "unauthenticated, no effect, and the session keeps its identity";
    other_user "id.other-user" ["CHAT-6", "CHAT-50", "PRES-27"] over EVERY needs CHAT
        does "joins as one user, then sends an event with another user's token"
        expects "the session leaves all rooms as the first user and acts as the second";
    same_user "id.same-user" ["CHAT-7"] over EVERY needs CHAT
        does "sends an event with a second valid token of the same user"
        expects "memberships do not change";
    logout "id.logout" ["CHAT-11", "REST-20"] over EVERY needs CHAT_OF_NEW_USERS
        does "logs out the token of one of a user's two sessions"
        expects "that session becomes anonymous and leaves its rooms; the other keeps its identity";
    logout_event "id.logout-told" ["CHAT-12"] over EVERY needs CHAT
        does "logs out a session's token"
        expects "the session gets the event login with the text";
    keeps_open "id.keeps-open-after-expiry" ["CHAT-13"] over NONE needs CHAT
        does "logs in again elsewhere while a session is connected"
        expects "the session stays usable";
    cookie "id.cookie" ["CHAT-14", "REST-4"] over EVERY needs CHAT
        does "connects with the cookie of a login and without a token"
        expects "the session is anonymous";
    not_inherited "id.not-inherited" ["CHAT-10", "CHAT-1"] over EVERY needs CHAT
        does "closes sessions with identity and opens new ones without"
        expects "the new sessions are anonymous";
    login_count "login.count" ["CHAT-15", "UNR-1", "UNR-2", "UNR-3", "UNR-6"] over EVERY needs CHAT_OF_NEW_USERS
        does "sends login without ack id"
        expects "one event count with a number for every known room";
    login_ack "login.ack" ["CHAT-16"] over EVERY needs CHAT
        does "sends login with ack id"
        expects "ok, user with exactly id, name and avatar, and count as in the event";
    not_needed "login.not-needed" ["CHAT-17", "UNR-3"] over EVERY needs CHAT_OF_NEW_USERS
        does "joins and sends messages without sending login"
        expects "everything works";
}

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

/// A new session with these options acts as this user.
fn connects_as(context: &Context, options: Options, user: Option<&User>) -> Outcome {
    acts_as(context, &context.socket_with(options)?, user)
}

fn sources(context: &Context) -> Outcome {
    let (user, other) = (context.user()?, context.user()?);
    context.step("in the query");
    let token = Some(user.token.clone());
    connects_as(context, Options { token, ..context.options() }, Some(&user))?;
    context.step("as bearer");
    let bearer = Some(other.token.clone());
    connects_as(context, Options { bearer, ..context.options() }, Some(&other))?;
    context.step("in an event");
    let socket = context.socket()?;
    acts_as(context, &socket, None)?;
    let arg = json!({ "api_token": user.token });
    accepts(&socket.ask("login", &[arg], context.wait())?)?;
    acts_as(context, &socket, Some(&user))
}

fn connect_payload(context: &Context) -> Outcome {
    let (one, two) = (context.user()?, context.user()?);
    let connects_as = |query: Option<&User>, auth: Value, user: Option<&User>| {
        let token = query.map(|user| user.token.clone());
        connects_as(context, Options { token, auth: Some(auth), ..context.options() }, user)
    };
    connects_as(None, json!({ "api_token": one.token }), Some(&one))?;
    connects_as(None, json!({ "token": two.token }), Some(&two))?;
    connects_as(None, json!({ "token": two.token, "api_token": one.token }), Some(&one))?;
    context.step("one token in the query, another in the payload");
    connects_as(Some(&one), json!({ "api_token": two.token }), Some(&two))?;
    context.step("invalid tokens");
    for token in each(json!(["x", 1, "z".repeat(60)])) {
        connects_as(Some(&one), json!({ "api_token": token }), Some(&one))?;
        connects_as(None, json!({ "api_token": token }), None)?;
    }
    Ok(())
}

fn query_before_bearer(context: &Context) -> Outcome {
    let (one, two) = (context.user()?, context.user()?);
    for (query, user) in [(one.token.as_str(), &one), ("", &two), ("false", &two), ("null", &two)] {
        let (token, bearer) = (Some(query.to_owned()), Some(two.token.clone()));
        connects_as(context, Options { token, bearer, ..context.options() }, Some(user))?;
    }
    Ok(())
}

fn no_token_in_event(context: &Context) -> Outcome {
    let room = context.room()?;
    let guest = context.guest("guest")?;
    let tokens = each(json!([false, null, ""])).into_iter();
    let args = tokens.map(|token| json!({ "roomid": room, "api_token": token }));
    for arg in args.chain([json!({ "roomid": room })]) {
        accepts(&guest.ask("room", arg)?)?;
        let event = guest.event("room")?;
        require(
            roster_ids(event.arg(0)).contains(&guest.user.id),
            "the user in the roster",
            || event.arg(0).to_string(),
        )?;
    }
    Ok(())
}

fn invalid_token_in_event(context: &Context) -> Outcome {
    let (room, witness) = watched_room(context)?;
    let guest = context.guest("guest")?;
    let twisted: String = guest.user.token.chars().rev().collect();
    let own = &guest.user.token;
    let types = each(json!([1, 0, true, [own], { "token": own }]));
    let texts = each(json!(["short", "z".repeat(60), twisted, format!("{own} "), "false"]));
    for token in [types, texts].concat() {
        context.step(format!("api_token: {token}"));
        let arg = json!({ "roomid": room, "api_token": token });
        refuses(&guest.ask("room", arg)?, "unauthenticated")?;
        refuses(&guest.ask("login", json!({ "api_token": token }))?, "unauthenticated")?;
    }
    guest.emit("room", json!({ "roomid": room, "api_token": 1 }))?;
    let event = guest.event("login")?;
    equal("the text", event.arg(0), &json!("Login to enter chat room"))?;
    context.step("an invalid token in the room");
    guest.join(room)?;
    let mut forged = message(room, "forged");
    forged["api_token"] = json!("z".repeat(60));
    refuses(&guest.ask("message", forged)?, "unauthenticated")?;
    guest.say_to(&witness, room, "genuine")?;
    equal("the messages received", &witness.messages(room).len(), &1)
}

fn other_user(context: &Context) -> Outcome {
    let (room, elsewhere) = (context.room()?, context.room()?);
    let witness = observer_in(context, room, "witness")?;
    let guest = guest_in(context, room)?;
    witness.roster_of(room, &[witness.user.id, guest.user.id])?;
    let second = context.user()?;
    let arg = json!({ "roomid": elsewhere, "api_token": second.token });
    accepts(&guest.ask("room", arg)?)?;
    let what = "the new room's roster";
    let event = guest.event_where(what, |event| is_roster_of(event, elsewhere))?;
    users_are("the users in the new room", event.arg(0), &[second.id])?;
    witness.roster_of(room, &[witness.user.id])?;
    refuses(&guest.ask("message", message(room, "as the old user"))?, "not_member")?;
    acts_as(context, &guest.socket, Some(&second))?;
    context.step("sends a message with the token of a third");
    let third = context.user()?;
    let mut arg = message(elsewhere, "as a third user");
    arg["api_token"] = json!(third.token);
    refuses(&guest.ask("message", arg)?, "not_member")?;
    acts_as(context, &guest.socket, Some(&third))
}

fn same_user(context: &Context) -> Outcome {
    let (room, guest, witness) = guest_and_witness(context)?;
    let again = context.rest().login(&guest.user.email)?;
    require(again.token != guest.user.token, "a new token", || again.token.clone())?;
    witness.socket.skip();
    let mut arg = message(room, "with the second token");
    arg["api_token"] = json!(again.token);
    accepts(&guest.ask("message", arg)?)?;
    witness.message_with("with the second token")?;
    let users = sorted(&[guest.user.id, witness.user.id]);
    equal("the last roster", &last_roster(context, &witness, room), &users)
}

fn logout(context: &Context) -> Outcome {
    let (room, witness) = watched_room(context)?;
    let user = context.user()?;
    let again = context.rest().login(&user.email)?;
    let (gone, kept) = (context.chat(&user, "gone")?, context.chat(&again, "kept")?);
    gone.join(room)?;
    witness.roster_of(room, &[witness.user.id, user.id])?;
    let answer = context.rest().post("/api/logout", &json!({ "api_token": user.token }))?;
    has_fields(&answer.json(), json!({ "errno": 0 }))?;
    witness.roster_of(room, &[witness.user.id])?;
    acts_as(context, &gone.socket, None)?;
    acts_as(context, &kept.socket, Some(&again))?;
    refuses(&gone.ask("login", json!({ "api_token": user.token }))?, "unauthenticated")?;
    equal("GET /api/user", &context.rest().get_as("/api/user", &user.token)?.status, &401)
}

fn logout_event(context: &Context) -> Outcome {
    let guest = context.guest("guest")?;
    context.rest().post("/api/logout", &json!({ "api_token": guest.user.token }))?;
    let event = guest.event("login")?;
    equal("the text", event.arg(0), &json!("Login to enter chat room"))
}

fn keeps_open(context: &Context) -> Outcome {
    let guest = context.guest("guest")?;
    context.rest().login(&guest.user.email)?;
    context.pause(QUIET);
    acts_as(context, &guest.socket, Some(&guest.user))
}

fn cookie(context: &Context) -> Outcome {
    let user = context.user()?;
    let of_login = session_cookie(&context.rest(), &user)?;
    for cookie in [of_login, format!("throng_session={}", user.token)] {
        let headers = vec![("Cookie".to_owned(), cookie)];
        connects_as(context, Options { headers, ..context.options() }, None)?;
    }
    Ok(())
}

fn not_inherited(context: &Context) -> Outcome {
    let room = context.room()?;
    for _ in 0..4 {
        let guest = guest_in(context, room)?;
        guest.socket.close();
        context.pause(Duration::from_millis(30));
        connects_as(context, context.options(), None)?;
    }
    Ok(())
}

/// When the room that a join has created is known (UNR-6, NODE-13), and some slack.
const KNOWN_WITHIN: Duration = Duration::from_millis(1_200);
/// How many rooms the answer to `login` names at most (UNR-6).
const NAMED_ROOMS_MAX: usize = 1_000;

fn login_count(context: &Context) -> Outcome {
    let guest = context.guest("guest")?;
    let known = context.rest().rooms(&guest.user.token)?;
    let room = context.room()?;
    guest.join(room)?;
    guest.leave(room)?;
    // Neither this room nor those that other cases just created need to be known sooner.
    context.pause(KNOWN_WITHIN);
    guest.socket.skip();
    guest.emit("login", json!({ "name": guest.user.email }))?;
    // Updates contain changed rooms only; the answer contains room 1, which does not change.
    let event = guest.event_where("a count of all rooms", |event| {
        event.name == "count" && event.arg(0).get("room1").is_some()
    })?;
    equal("the number of arguments", &event.args.len(), &1)?;
    let counts = event.arg(0).as_object().cloned().unwrap_or_default();
    // A target may have more rooms than it names.
    require(counts.len() <= NAMED_ROOMS_MAX, "1000 rooms at most", || {
        format!("{} rooms", counts.len())
    })?;
    let is_full = counts.len() == NAMED_ROOMS_MAX;
    let number = counts.get(&format!("room{room}"));
    require(is_full || number == Some(&json!(0)), "0 for a room just left", || {
        format!("{}", number.unwrap_or(&Value::Null))
    })?;
    context.pause(QUIET);
    // Where rooms are few, other cases use room 1 too, and updates name it.
    if context.capabilities().rooms_on_demand {
        let answers = guest.socket.events();
        let is_answer =
            |event: &&Event| event.name == "count" && event.arg(0).get("room1").is_some();
        equal("the number of answers", &answers.iter().filter(is_answer).count(), &1)?;
    }
    let room = context.room()?;
    let base = context.base(room);
    let talker = context.observer("talker")?;
    talker.join(room)?;
    talker.say(room, "unread")?;
    context.pause(QUIET * 3);
    guest.socket.skip();
    guest.emit("login", json!({}))?;
    let key = format!("room{room}");
    if !is_full {
        let is_counted = |event: &Event| event.name == "count" && event.arg(0)[&key] == base + 1;
        guest.event_where("the number of the room in the event", is_counted)?;
    }
    for (key, value) in &counts {
        let digits = key.strip_prefix("room").filter(|id| id.parse::<u64>().is_ok());
        require(digits.is_some() && value.is_u64(), "a number for `room` and an id", || {
            format!("{key}: {value}")
        })?;
    }
    let missing: Vec<&Value> = known
        .iter()
        .map(|room| &room["id"])
        .filter(|id| !counts.contains_key(&format!("room{id}")))
        .collect();
    require(is_full || missing.is_empty(), "every known room", || format!("{missing:?} missing"))
}

fn login_ack(context: &Context) -> Outcome {
    let guest = context.guest("guest")?;
    let answer = guest.ask("login", json!({}))?;
    let wanted =
        json!({ "id": guest.user.id, "name": guest.user.name, "avatar": guest.user.avatar });
    has_fields(&answer, json!({ "user": wanted }))?;
    let events = guest.socket.events();
    let same = events.iter().any(|e| e.name == "count" && *e.arg(0) == answer["count"]);
    require(same, "an event count that equals that of the ack", || format!("{}", answer["count"]))
}

fn not_needed(context: &Context) -> Outcome {
    let (room, guest, witness) = guest_and_witness(context)?;
    guest.say_to(&witness, room, "never logged in")?;
    guest.leave(room)?;
    Ok(())
}
