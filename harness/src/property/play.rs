//! Plays a script: each step against the server and against the model.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::actors::{Actor, Stage, no_answer, violation};
use super::check;
use super::model::Until;
use super::script::{End, Mode, ROOMS, Script, Step};
use super::{Broken, Play};
use crate::client::chat::message;
use crate::context::Context;
use crate::invariants;
use crate::outcome::shown;
use crate::together::together;

/// Plays the script; what it leads to must last for `soak`, while nothing else happens.
pub fn play(context: &Context, script: &Script, timeout: Duration, soak: Duration) -> Play<()> {
    let outcome = acted(context, script, timeout, soak);
    context.end_sessions();
    outcome
}

fn acted(context: &Context, script: &Script, timeout: Duration, soak: Duration) -> Play<()> {
    let mut stage = Stage::set(context, script, timeout)?;
    let outcome = all_steps(&mut stage, script).and_then(|()| lasts(&mut stage, soak));
    // The next script begins with all nodes up.
    let down = std::mem::take(&mut stage.down);
    let revived: Vec<Play<()>> =
        down.into_iter().map(|node| command(context, "up", node)).collect();
    outcome.and(revived.into_iter().collect::<Play<()>>())?;
    // What holds whatever the script.
    context.check_received().map_err(|invariants::Violation { clause, expected, observed }| {
        violation(clause, expected, observed)
    })
}

fn all_steps(stage: &mut Stage<'_>, script: &Script) -> Play<()> {
    check::nodes_agree(stage)?;
    for (index, step) in script.steps.iter().enumerate() {
        stage.context.log.note(format!("step {index}: {step}"));
        let outcome = perform(stage, step).and_then(|()| check::nodes_agree(stage));
        outcome.map_err(|broken| at_step(broken, index))?;
    }
    stage.context.log.note("at rest");
    check::at_rest(stage)
}

fn lasts(stage: &mut Stage<'_>, soak: Duration) -> Play<()> {
    if soak.is_zero() {
        return Ok(());
    }
    stage.context.log.note(format!("nothing happens for {soak:?}"));
    check::nothing_comes(stage, soak)?;
    check::at_rest(stage)
}

fn at_step(broken: Broken, index: usize) -> Broken {
    match broken {
        Broken::Violation(violation) => {
            Broken::Violation(super::Violation { step: Some(index), ..violation })
        }
        other => other,
    }
}

fn perform(stage: &mut Stage<'_>, step: &Step) -> Play<()> {
    match *step {
        Step::Join { client, room, mode } => join(stage, client, room, mode),
        Step::Leave { client, room } => leave(stage, client, room),
        Step::Say { client, room } => burst(stage, client, room, 1),
        Step::Burst { client, room, count } => burst(stage, client, room, count),
        Step::Bounce { client, room } => bounce(stage, client, room),
        Step::Babble { room, count } => babble(stage, room, count),
        Step::LeaveTogether { room } => leave_together(stage, room),
        Step::JoinTogether { room } => join_together(stage, room),
        Step::End { client, how } => end(stage, client, how),
        Step::Reconnect { client } => reconnect(stage, client),
        Step::Upgrade { client } => upgrade(stage, client),
        Step::BadToken { client, room } => refused_message(stage, client, room, true),
        Step::TooLong { client, room } => refused_message(stage, client, room, false),
        Step::Login { client } => login(stage, client),
        Step::NodeDown { node } => node_down(stage, node),
        Step::NodeUp { node } => node_up(stage, node),
    }
}

fn expect(
    holds: bool,
    clause: &'static str,
    expected: impl Into<String>,
    observed: impl FnOnce() -> String,
) -> Play<()> {
    if holds { Ok(()) } else { Err(violation(clause, expected, observed())) }
}

fn is_ok(answer: &Value, clause: &'static str) -> Play<()> {
    expect(answer["ok"] == json!(true), clause, "ok", || answer.to_string())
}

fn seq_is(answer: &Value, seq: u64) -> Play<()> {
    expect(answer["seq"] == json!(seq), "CHAT-60", format!("seq {seq}"), || answer.to_string())
}

fn join(stage: &mut Stage<'_>, client: usize, room: usize, mode: Mode) -> Play<()> {
    let Some(actor) = stage.client(client) else {
        return Ok(());
    };
    let number = actor.number;
    let arg = json!({ "roomid": stage.rooms[room], "presence": mode.name() });
    let answer = stage.ask(actor, "room", arg)?;
    let before = stage.model.seq[room];
    stage.model.join(number, room, mode, before, before);
    let online = stage.model.present(room).len();
    is_ok(&answer, "CHAT-22")?;
    online_is(stage, &answer, online)?;
    seq_is(&answer, before)
}

fn leave(stage: &mut Stage<'_>, client: usize, room: usize) -> Play<()> {
    let Some(actor) = stage.client(client) else {
        return Ok(());
    };
    let number = actor.number;
    let answer = stage.ask(actor, "roomout", json!({ "roomid": stage.rooms[room] }))?;
    stage.model.leave(number, room, Until::Left);
    let online = stage.model.present(room).len();
    is_ok(&answer, "CHAT-34")?;
    online_is(stage, &answer, online)
}

/// One of several nodes may not know yet that a user is on another one too (NODE-11).
fn online_is(stage: &Stage<'_>, answer: &Value, online: usize) -> Play<()> {
    let fits = answer["online"] == json!(online) || stage.context.nodes() > 1;
    expect(fits, "PRES-12", format!("{online} online"), || answer.to_string())
}

/// Messages of one client, sent without waiting in between.
fn burst(stage: &mut Stage<'_>, client: usize, room: usize, count: usize) -> Play<()> {
    let Some(actor) = stage.client(client) else {
        return Ok(());
    };
    let is_member = stage.model.is_member(actor.number, room);
    let answers = send_all(actor, stage.rooms[room], count)?;
    for answer in answers {
        if is_member {
            let wanted = stage.model.seq[room] + 1;
            is_ok(&answer, "CHAT-37")?;
            seq_is(&answer, wanted)?;
            stage.model.seq[room] = wanted;
        } else {
            expect(answer["code"] == json!("not_member"), "CHAT-51", "not_member", || {
                answer.to_string()
            })?;
        }
    }
    Ok(())
}

fn send_all(actor: &Actor, room: u64, count: usize) -> Play<Vec<Value>> {
    // Every other one is equal to the one before.
    let texts = (0..count).map(|index| format!("{}.{}", actor.number, index / 2));
    let messages = texts.map(|text| ("message", message(room, &text)));
    actor.chat.ask_all(messages).map_err(|why| no_answer("message", &why))
}

fn bounce(stage: &mut Stage<'_>, client: usize, room: usize) -> Play<()> {
    let Some(actor) = stage.client(client) else {
        return Ok(());
    };
    let (number, id) = (actor.number, stage.rooms[room]);
    let answers = actor.chat.ask_all([
        ("roomout", json!({ "roomid": id })),
        ("room", json!({ "roomid": id })),
        ("message", message(id, "bounced")),
    ]);
    let answers = answers.map_err(|why| no_answer("a bounce", &why))?;
    let before = stage.model.seq[room];
    stage.model.leave(number, room, Until::Left);
    stage.model.join(number, room, Mode::Full, before, before);
    stage.model.seq[room] = before + 1;
    let all_ok = answers.iter().all(|answer| answer["ok"] == json!(true));
    expect(all_ok, "CHAT-63", "roomout, room and message take effect in order", || {
        shown(&answers)
    })?;
    seq_is(&answers[2], before + 1)
}

fn ask_together(actors: &[&Actor], name: &str, room: u64) -> Play<Vec<(usize, Value)>> {
    let answers = together(actors, |_, actor| {
        let answer = actor.chat.ask(name, json!({ "roomid": room }));
        answer.map(|answer| (actor.number, answer)).map_err(|why| no_answer(name, &why))
    });
    answers.into_iter().collect()
}

fn babble(stage: &mut Stage<'_>, room: usize, count: usize) -> Play<()> {
    let members = stage.model.members(room);
    let actors: Vec<&Actor> = members.iter().filter_map(|&number| stage.actor(number)).collect();
    let id = stage.rooms[room];
    let answers = together(&actors, |_, actor| Ok((actor.number, send_all(actor, id, count)?)));
    let answers: Vec<(usize, Vec<Value>)> = answers.into_iter().collect::<Play<_>>()?;
    let mut seqs = Vec::new();
    for (number, answers) in &answers {
        let own: Vec<u64> = answers.iter().filter_map(|answer| answer["seq"].as_u64()).collect();
        expect(own.len() == count, "CHAT-37", "messages that are sent", || shown(&answers))?;
        expect(own.is_sorted(), "CHAT-62", "seq in the order sent", || {
            format!("{own:?} for session {number}")
        })?;
        seqs.extend(own);
    }
    seqs.sort_unstable();
    let first = stage.model.seq[room] + 1;
    let wanted: Vec<u64> = (first..first + seqs.len() as u64).collect();
    expect(seqs == wanted, "CHAT-60", format!("the seq {wanted:?}"), || format!("{seqs:?}"))?;
    stage.model.seq[room] += seqs.len() as u64;
    Ok(())
}

fn leave_together(stage: &mut Stage<'_>, room: usize) -> Play<()> {
    let numbers: Vec<usize> = stage
        .clients
        .iter()
        .flatten()
        .map(|actor| actor.number)
        .filter(|&number| stage.model.is_member(number, room))
        .collect();
    let actors: Vec<&Actor> = numbers.iter().filter_map(|&number| stage.actor(number)).collect();
    for (number, answer) in ask_together(&actors, "roomout", stage.rooms[room])? {
        is_ok(&answer, "CHAT-34")?;
        stage.model.leave(number, room, Until::Left);
    }
    Ok(())
}

fn join_together(stage: &mut Stage<'_>, room: usize) -> Play<()> {
    let actors: Vec<&Actor> = stage.clients.iter().flatten().collect();
    if actors.is_empty() {
        return Ok(());
    }
    let answers = ask_together(&actors, "room", stage.rooms[room])?;
    let before = stage.model.seq[room];
    for (number, answer) in answers {
        is_ok(&answer, "CHAT-22")?;
        stage.model.join(number, room, Mode::Full, before, before);
    }
    Ok(())
}

fn end(stage: &mut Stage<'_>, client: usize, how: End) -> Play<()> {
    let bound = stage.context.capabilities().silence_bound();
    if how == End::Silence && bound > Duration::from_secs(4) {
        return Ok(());
    }
    let Some(mut actor) = stage.clients.get_mut(client).and_then(Option::take) else {
        return Ok(());
    };
    match how {
        End::Close => actor.chat.socket.close(),
        End::Disconnect => {
            let _ = actor.chat.socket.disconnect();
        }
        End::Fin => actor.chat.socket.hang_up(),
        End::Rst => actor.chat.socket.reset(),
        End::Silence => {
            actor.chat.socket.mute();
            thread::sleep(bound + Duration::from_millis(100));
        }
        End::Malformed => {
            let _ = actor.chat.socket.send_message("2{}");
        }
    }
    stage.model.end(actor.number);
    stage.ended.push(actor);
    // If the user has another session, no event shows that the server detected the end.
    thread::sleep(Duration::from_millis(60));
    // The server sets the read mark when it detects the end; nothing is sent until then.
    check::presence_settles(stage)
}

fn reconnect(stage: &mut Stage<'_>, client: usize) -> Play<()> {
    if stage.client(client).is_none() {
        let actor = stage.connect_client(client)?;
        if let Some(slot) = stage.clients.get_mut(client) {
            *slot = Some(actor);
        }
    }
    Ok(())
}

fn upgrade(stage: &mut Stage<'_>, client: usize) -> Play<()> {
    if !stage.can_upgrade(client) {
        return Ok(());
    }
    let Some(Some(actor)) = stage.clients.get_mut(client) else {
        return Ok(());
    };
    actor.combo.transport = crate::client::options::Transport::Websocket;
    let upgraded = actor.chat.socket.upgrade();
    upgraded.map_err(|why| violation("EIO-70", "an upgrade to WebSocket", why.to_string()))
}

/// The node that a step names: any but the first.
fn killable(stage: &Stage<'_>, node: usize) -> Option<usize> {
    let others = stage.context.nodes() - 1;
    (others > 0).then(|| 1 + node % others)
}

fn command(context: &Context, what: &str, node: usize) -> Play<()> {
    context.command_node(what, node).map_err(super::actors::refused)
}

/// All sessions of the node are lost; the others see their users leave when the lease expires.
fn node_down(stage: &mut Stage<'_>, node: usize) -> Play<()> {
    let Some(node) = killable(stage, node).filter(|node| !stage.down.contains(node)) else {
        return Ok(());
    };
    stage.down.insert(node);
    command(stage.context, "down", node)?;
    let clients = stage.clients.iter_mut();
    let cut = clients.filter_map(|slot| slot.take_if(|actor| actor.node == node));
    let mut ended: Vec<Actor> = cut.collect();
    let observers = stage.observers.extract_if(.., |observer| observer.actor.node == node);
    ended.extend(observers.map(|observer| observer.actor));
    for actor in ended {
        stage.model.end(actor.number);
        stage.ended.push(actor);
    }
    // Nothing is sent before the death is detected, so the read marks are known (NODE-21).
    let timeout = std::mem::replace(&mut stage.timeout, stage.context.run.lease);
    let noticed = check::presence_settles(stage);
    stage.timeout = timeout;
    noticed.map_err(|broken| match broken {
        Broken::Violation(violation) => {
            Broken::Violation(super::Violation { clause: "NODE-20", ..violation })
        }
        other => other,
    })
}

fn node_up(stage: &mut Stage<'_>, node: usize) -> Play<()> {
    let Some(node) = killable(stage, node).filter(|node| stage.down.contains(node)) else {
        return Ok(());
    };
    command(stage.context, "up", node)?;
    stage.down.remove(&node);
    stage.observe(node)
}

fn refused_message(stage: &mut Stage<'_>, client: usize, room: usize, bad_token: bool) -> Play<()> {
    let Some(actor) = stage.client(client) else {
        return Ok(());
    };
    let mut arg = message(stage.rooms[room], "refused");
    let (clause, codes): (_, &[&str]) = if bad_token {
        arg["api_token"] = json!("z".repeat(60));
        ("CHAT-5", &["unauthenticated"])
    } else {
        arg["msg"] = json!("x".repeat(2_001));
        ("CHAT-44", &["too_large", "not_member"])
    };
    let answer = stage.ask(actor, "message", arg)?;
    let refused = answer["code"].as_str().is_some_and(|code| codes.contains(&code));
    expect(refused, clause, format!("a refusal as {codes:?}"), || answer.to_string())
}

/// Unread numbers are exact at rest (UNR-15): a server may delay a change as long as a `count`.
fn login(stage: &mut Stage<'_>, client: usize) -> Play<()> {
    let deadline = Instant::now() + stage.timeout.min(Duration::from_millis(1_500));
    loop {
        let outcome = numbers_are_right(stage, client);
        if outcome.is_ok() || Instant::now() >= deadline {
            return outcome;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn numbers_are_right(stage: &Stage<'_>, client: usize) -> Play<()> {
    let Some(actor) = stage.client(client) else {
        return Ok(());
    };
    let user = stage.model.live.get(&actor.number).map_or(0, |connection| connection.user);
    let answer = stage.ask(actor, "login", json!({}))?;
    let id = stage.users[user].id;
    expect(answer["user"]["id"] == json!(id), "CHAT-16", format!("user {id}"), || {
        answer["user"].to_string()
    })?;
    for room in 0..ROOMS {
        let wanted = stage.model.unread(user, room);
        let observed = &answer["count"][format!("room{}", stage.rooms[room])];
        let is_inside = stage.model.present(room).contains(&user);
        let clause = if is_inside { "UNR-4" } else { "UNR-15" };
        expect(
            *observed == json!(wanted),
            clause,
            format!("{wanted} unread in room {room}"),
            || format!("{observed} for user {id}"),
        )?;
    }
    Ok(())
}
