//! Chapter 10: several nodes that are one server.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::support::*;
use crate::capabilities::{NODE_COMMAND, NODES};
use crate::case::cases;
use crate::client::chat::{Chat, is_roster_of, message, roster_ids};
use crate::client::rest::User;
use crate::combo::{EVERY, NONE};
use crate::context::Context;
use crate::outcome::{Outcome, Stop, equal, require};

/// The bound of NODE-10 for a small room.
const LAG: Duration = Duration::from_millis(1_100);

cases! {
    accounts "nodes.accounts" ["NODE-2", "NODE-1"] over NONE needs NODES
        does "registers on each node and uses the token, and the login, on every other"
        expects "the same user everywhere, at once";
    presence "nodes.presence" ["NODE-10", "NODE-1"] over EVERY needs NODES
        does "joins and leaves on each node in turn while a member on every node listens"
        expects "all of them see the same users";
    rooms "nodes.rooms" ["NODE-13", "NODE-1"] over EVERY needs NODES
        does "enters a new room on each node, leaves it at once, and sends login on every other"
        expects "the room is among those that are counted";
    one_user "nodes.one-user" ["NODE-3"] over EVERY needs NODES
        does "enters with sessions of one user on different nodes, and leaves with one after the other"
        expects "one user online till the last session is out";
    messages "nodes.messages" ["NODE-4", "NODE-5"] over EVERY needs NODES
        does "talks on every node at the same moment"
        expects "one order without a gap for the members of all nodes, and the same history everywhere";
    unread "nodes.unread" ["NODE-6"] over EVERY needs NODES
        does "sends on one node while a user of another is outside, enters and leaves"
        expects "his number is told, read and fixed by the messages of all nodes";
    logout "nodes.logout" ["NODE-7"] over EVERY needs NODES
        does "logs out on one node a token that a session of another was opened with"
        expects "it is out";
    death "nodes.death" ["NODE-20", "NODE-22"] over NONE needs NODE_COMMAND
        does "kills a node with a user who has just talked, and with one who is on another node too"
        expects "the first is out within the lease and 2 s, the second stays, and what was acked is kept";
}

fn on(context: &Context, node: usize, user: &User, label: &str) -> Result<Chat, Stop> {
    Ok(context.chat_at(node, user, &format!("{label}@{node}"), context.options())?)
}

/// A new user with one session on each node.
fn one_per_node(context: &Context, label: &str) -> Result<Vec<Chat>, Stop> {
    (0..context.nodes()).map(|node| on(context, node, &context.user()?, label)).collect()
}

fn users_of(chats: &[Chat]) -> Vec<u64> {
    chats.iter().map(|chat| chat.user.id).collect()
}

fn accounts(context: &Context) -> Outcome {
    for home in 0..context.nodes() {
        let user = context
            .rest_at(home)
            .register(&context.run.fresh_email())
            .map_err(|why| Stop::Error(why.to_string()))?;
        for node in 0..context.nodes() {
            let rest = context.rest_at(node);
            let told = rest.get_as("/api/user", &user.token)?.json();
            equal("the id by the token", &told["id"], &json!(user.id))?;
            equal("the id by a login", &rest.login(&user.email)?.id, &user.id)?;
            let answer = on(context, node, &user, "user")?.ask("login", json!({}))?;
            equal("the session's user", &answer["user"]["id"], &json!(user.id))?;
        }
    }
    Ok(())
}

fn presence(context: &Context) -> Outcome {
    let room = context.room()?;
    let witnesses = one_per_node(context, "witness")?;
    for witness in &witnesses {
        witness.join(room)?;
    }
    for node in 0..context.nodes() {
        let guest = on(context, node, &context.user()?, "guest")?;
        guest.join(room)?;
        let with_guest: Vec<u64> =
            users_of(&witnesses).into_iter().chain([guest.user.id]).collect();
        for witness in &witnesses {
            witness.roster_of(room, &with_guest)?;
        }
        // Once by its own wish, once by the end of its connection.
        if node == 0 {
            guest.leave(room)?;
        } else {
            guest.socket.close();
        }
        for witness in &witnesses {
            witness.roster_of(room, &users_of(&witnesses))?;
        }
    }
    Ok(())
}

fn rooms(context: &Context) -> Outcome {
    let everywhere = one_per_node(context, "user")?;
    for founder in &everywhere {
        let room = context.room()?;
        founder.join(room)?;
        founder.leave(room)?;
        context.pause(LAG);
        for user in &everywhere {
            let counts = user.ask("login", json!({}))?["count"].clone();
            let is_full = counts.as_object().is_some_and(|counts| counts.len() >= 1_000);
            let is_named = is_full || counts[format!("room{room}")] == json!(0);
            require(is_named, "the new room, with 0", || counts.to_string())?;
        }
    }
    Ok(())
}

fn one_user(context: &Context) -> Outcome {
    let room = context.room()?;
    let user = context.user()?;
    let witnesses = one_per_node(context, "witness")?;
    for witness in &witnesses {
        witness.join(room)?;
    }
    let tabs = (0..context.nodes())
        .map(|node| on(context, node, &user, "tab"))
        .collect::<Result<Vec<Chat>, Stop>>()?;
    for tab in &tabs {
        tab.join(room)?;
    }
    let everybody: Vec<u64> = users_of(&witnesses).into_iter().chain([user.id]).collect();
    for chat in witnesses.iter().chain(&tabs) {
        let event = chat.roster_of(room, &everybody)?;
        equal("online", &event.arg(1)["online"], &json!(everybody.len()))?;
    }
    // No event tells a node that somebody it knows already has come to another one as well.
    context.pause(LAG);
    for (index, tab) in tabs.iter().enumerate() {
        for witness in &witnesses {
            let left = witness
                .socket
                .events()
                .into_iter()
                .any(|event| is_roster_of(&event, room) && event.name == "roomout");
            require(!left, "nobody has left yet", || format!("a roomout after {index} tabs"))?;
        }
        // A message after the leave shows that everything before it has been told.
        tab.leave(room)?;
        if index + 1 < tabs.len() {
            witnesses[index].say(room, &format!("after {index}"))?;
            for witness in &witnesses {
                witness.message_with(&format!("after {index}"))?;
            }
        }
    }
    for witness in &witnesses {
        let event = witness.roster_of(room, &users_of(&witnesses))?;
        equal("online", &event.arg(1)["online"], &json!(witnesses.len()))?;
    }
    Ok(())
}

const EACH: usize = 12;

fn messages(context: &Context) -> Outcome {
    let room = context.room()?;
    let members = one_per_node(context, "member")?;
    for member in &members {
        member.join(room)?;
    }
    for member in &members {
        member.roster_of(room, &users_of(&members))?;
    }
    thread::scope(|scope| {
        let talking: Vec<_> = members
            .iter()
            .enumerate()
            .map(|(node, member)| scope.spawn(move || talk(member, room, node)))
            .collect();
        talking.into_iter().try_for_each(|thread| match thread.join() {
            Ok(outcome) => outcome,
            Err(_) => Err(Stop::Error("a talking thread panicked".to_owned())),
        })
    })?;
    let total = EACH * members.len();
    let wanted: Vec<u64> = (1..=total as u64).collect();
    let mut told: Option<Vec<Value>> = None;
    for (node, member) in members.iter().enumerate() {
        context.eventually(&format!("{total} messages on node {node}"), || {
            Ok((member.messages(room).len() >= total).then_some(()))
        })?;
        let heard = member.messages(room);
        let seqs: Vec<u64> = heard.iter().filter_map(|told| told["seq"].as_u64()).collect();
        equal(&format!("the order on node {node}"), &seqs, &wanted)?;
        let texts: Vec<Value> = heard.iter().map(|told| told["msg"].clone()).collect();
        let first = told.get_or_insert_with(|| texts.clone());
        equal(&format!("what node {node} tells"), &texts, first)?;
        let page = context.rest_at(node).history(&member.user.token, room, 1, 0)?;
        equal(&format!("the history on node {node}"), &page["total"], &json!(total))?;
    }
    Ok(())
}

/// Some messages without waiting for their acknowledgements.
fn talk(member: &Chat, room: u64, node: usize) -> Outcome {
    let ids = (0..EACH)
        .map(|index| {
            let text = format!("{node}.{index}");
            member.socket.emit_with_id("message", &[message(room, &text)])
        })
        .collect::<Result<Vec<u64>, _>>()?;
    let mut seqs = BTreeSet::new();
    for id in ids {
        let answer = member.socket.wait_ack(id, member.wait)?;
        let seq = answer["seq"].as_u64();
        require(seq.is_some_and(|seq| seqs.insert(seq)), "an ack with a new seq", || {
            answer.to_string()
        })?;
    }
    Ok(())
}

fn unread(context: &Context) -> Outcome {
    let room = context.room()?;
    let (here, there) = (0, context.nodes() - 1);
    let author = on(context, here, &context.user()?, "author")?;
    author.join(room)?;
    let reader = on(context, there, &context.user()?, "reader")?;
    let key = format!("room{room}");
    for index in 1..=3 {
        author.say(room, &format!("unread {index}"))?;
    }
    reader.socket.wait_event(context.wait(), "a count of 3", |event| {
        event.name == "count" && event.arg(0)[&key] == json!(3)
    })?;
    reader.join(room)?;
    author.roster_of(room, &[author.user.id, reader.user.id])?;
    numbers(context, &reader, room, 0)?;
    author.say(room, "read")?;
    reader.message_with("read")?;
    numbers(context, &reader, room, 0)?;
    reader.leave(room)?;
    author.roster_of(room, &[author.user.id])?;
    author.say(room, "unread again")?;
    numbers(context, &reader, room, 1)
}

/// The user's number is this on every node.
fn numbers(context: &Context, user: &Chat, room: u64, wanted: u64) -> Outcome {
    for node in 0..context.nodes() {
        let rest = context.rest_at(node);
        context.eventually(&format!("{wanted} unread on node {node}"), || {
            let rooms = rest.rooms(&user.user.token)?;
            let entry = rooms.iter().find(|entry| entry["id"] == json!(room));
            Ok(entry.is_some_and(|entry| entry["unread"] == json!(wanted)).then_some(()))
        })?;
    }
    Ok(())
}

fn death(context: &Context) -> Outcome {
    let room = context.room()?;
    let (here, there) = (0, context.nodes() - 1);
    let witness = on(context, here, &context.user()?, "witness")?;
    let twofold = context.user()?;
    let tabs = [on(context, here, &twofold, "tab")?, on(context, there, &twofold, "tab")?];
    let victim = on(context, there, &context.user()?, "victim")?;
    for member in [&witness, &victim].into_iter().chain(&tabs) {
        member.join(room)?;
    }
    witness.roster_of(room, &[witness.user.id, victim.user.id, twofold.id])?;
    victim.say(room, "last words")?;
    witness.message_with("last words")?;
    context.command_node("down", there)?;
    let outcome = mourned(context, &witness, room, &[witness.user.id, twofold.id]);
    // Whatever came of it, the cases behind this one need the node.
    context.command_node("up", there)?;
    outcome
}

fn mourned(context: &Context, witness: &Chat, room: u64, left: &[u64]) -> Outcome {
    let left: BTreeSet<u64> = left.iter().copied().collect();
    let what = format!("a roomout that leaves {left:?}");
    witness.socket.wait_event(context.run.lease, &what, |event| {
        let is_leave = event.name == "roomout" && is_roster_of(event, room);
        is_leave && roster_ids(event.arg(0)) == left
    })?;
    let page = context.rest_at(0).history(&witness.user.token, room, 1, 0)?;
    equal("the history", &page["total"], &json!(1))?;
    Ok(())
}

fn logout(context: &Context) -> Outcome {
    let room = context.room()?;
    let (here, there) = (0, context.nodes() - 1);
    let witness = on(context, here, &context.user()?, "witness")?;
    witness.join(room)?;
    let user = context.user()?;
    let session = on(context, there, &user, "session")?;
    session.join(room)?;
    witness.roster_of(room, &[witness.user.id, user.id])?;
    context.rest_at(here).post("/api/logout", &json!({ "api_token": user.token }))?;
    witness.roster_of(room, &[witness.user.id])?;
    refuses(&session.ask("login", json!({}))?, "unauthenticated")
}
