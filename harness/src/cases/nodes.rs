//! Chapter 10: several nodes that are one server.

use std::collections::BTreeSet;

use super::prelude::*;

/// The bound of NODE-10 for a small room.
const LAG: Duration = Duration::from_millis(1_100);

cases! {
    accounts "nodes.accounts" ["NODE-2", "NODE-1"] over NONE needs NODES
        does "registers on each node, and uses token and login on every other node"
        expects "the same user on every node, at once";
    presence "nodes.presence" ["NODE-10", "NODE-1"] over EVERY needs NODES
        does "joins and leaves on each node in turn while a member on every node watches"
        expects "all members see the same users";
    rooms "nodes.rooms" ["NODE-13", "NODE-1"] over EVERY needs NODES
        does "joins and leaves a new room on each node, then sends login on every other node"
        expects "the count contains the room";
    one_user "nodes.one-user" ["NODE-3"] over EVERY needs NODES
        does "joins with sessions of one user on different nodes, then leaves with one after the other"
        expects "one user is online until the last session leaves";
    messages "nodes.messages" ["NODE-4", "NODE-5"] over EVERY needs NODES
        does "sends messages on every node at the same time"
        expects "one order without gaps for the members of all nodes, and the same history everywhere";
    again "nodes.again" ["NODE-14"] over EVERY needs NODES
        does "sends the same cid of one user on every node at the same time, then on each again"
        expects "one message, once for each member of every node, and every ack names it";
    unread "nodes.unread" ["NODE-6"] over EVERY needs NODES
        does "sends messages on one node while a user of another node is outside, joins and leaves"
        expects "the user's unread number follows the messages of all nodes";
    logout "nodes.logout" ["NODE-7"] over EVERY needs NODES
        does "logs out on one node the token of a session on another node"
        expects "the session becomes anonymous and leaves its rooms";
    death "nodes.death" ["NODE-20", "NODE-21", "NODE-22"] over NONE needs NODE_COMMAND
        does "kills a node with a user who has just sent a message, and with one who is on another node too"
        expects "the first user leaves within the lease plus 2 s, the second stays, the acknowledged message is kept, and the first user has read it";
}

fn on(context: &Context, node: usize, user: &User, label: &str) -> Result<Chat, Stop> {
    Ok(context.chat_at(node, user, &format!("{label}@{node}"), context.options())?)
}

/// A new user with one session on each node.
fn one_per_node(context: &Context, label: &str) -> Result<Vec<Chat>, Stop> {
    (0..context.nodes()).map(|node| on(context, node, &context.user()?, label)).collect()
}

fn accounts(context: &Context) -> Outcome {
    for home in 0..context.nodes() {
        let user = context
            .rest_at(home)
            .register(&context.run.fresh_email())
            .map_err(|why| Stop::Error(why.to_string()))?;
        for node in 0..context.nodes() {
            let rest = context.rest_at(node);
            let account = rest.get_as("/api/user", &user.token)?.json();
            equal("the id by the token", &account["id"], &json!(user.id))?;
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
    join_all(&witnesses, room)?;
    for node in 0..context.nodes() {
        let guest = on(context, node, &context.user()?, "guest")?;
        guest.join(room)?;
        let with_guest: Vec<u64> =
            users_of(&witnesses).into_iter().chain([guest.user.id]).collect();
        all_see(&witnesses, room, &with_guest)?;
        // On the first node by roomout, on the others by the end of the connection.
        if node == 0 {
            guest.leave(room)?;
        } else {
            guest.socket.close();
        }
        all_see(&witnesses, room, &users_of(&witnesses))?;
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
    join_all(&witnesses, room)?;
    let tabs: Vec<Chat> = (0..context.nodes())
        .map(|node| on(context, node, &user, "tab"))
        .collect::<Result<_, _>>()?;
    join_all(&tabs, room)?;
    let all_users: Vec<u64> = users_of(&witnesses).into_iter().chain([user.id]).collect();
    for chat in witnesses.iter().chain(&tabs) {
        let event = chat.roster_of(room, &all_users)?;
        has_fields(event.arg(1), json!({ "online": all_users.len() }))?;
    }
    // No event reports that a user who is present on one node joined on another one too.
    context.pause(LAG);
    for (index, tab) in tabs.iter().enumerate() {
        for witness in &witnesses {
            never(&format!("no roomout after {index} tabs"), &witness.socket, |event| {
                is_roster_of(event, room) && event.name == "roomout"
            })?;
        }
        // When the message after the leave arrives, everything before it has been sent.
        tab.leave(room)?;
        if index + 1 < tabs.len() {
            witnesses[index].say(room, &format!("after {index}"))?;
            all_hear(&witnesses, &format!("after {index}"))?;
        }
    }
    for witness in &witnesses {
        let event = witness.roster_of(room, &users_of(&witnesses))?;
        has_fields(event.arg(1), json!({ "online": witnesses.len() }))?;
    }
    Ok(())
}

const EACH: usize = 12;

fn messages(context: &Context) -> Outcome {
    let room = context.room()?;
    let members = one_per_node(context, "member")?;
    join_all(&members, room)?;
    all_see(&members, room, &users_of(&members))?;
    let talked = together(&members, |node, member| talk(member, room, node));
    talked.into_iter().collect::<Outcome>()?;
    let total = EACH * members.len();
    let wanted: Vec<u64> = (1..=total as u64).collect();
    let mut order: Option<Vec<String>> = None;
    for (node, member) in members.iter().enumerate() {
        let what = format!("{total} messages on node {node}");
        context.eventually(&what, || Ok(member.seqs(room).len() >= total))?;
        equal(&format!("the order on node {node}"), &member.seqs(room), &wanted)?;
        let texts = member.texts(room);
        let first = order.get_or_insert_with(|| texts.clone());
        equal(&format!("the texts on node {node}"), &texts, first)?;
        let page = context.rest_at(node).history(&member.user.token, room, 1, 0)?;
        equal(&format!("the history on node {node}"), &page["total"], &json!(total))?;
    }
    Ok(())
}

/// Some messages without waiting for their acknowledgements.
fn talk(member: &Chat, room: u64, node: usize) -> Outcome {
    let texts = (0..EACH).map(|index| format!("{node}.{index}"));
    let answers = member.ask_all(texts.map(|text| ("message", message(room, &text))))?;
    let mut seqs = BTreeSet::new();
    for answer in answers {
        let seq = answer["seq"].as_u64();
        require(seq.is_some_and(|seq| seqs.insert(seq)), "an ack with a new seq", || {
            answer.to_string()
        })?;
    }
    Ok(())
}

fn again(context: &Context) -> Outcome {
    let room = context.room()?;
    let user = context.user()?;
    let witnesses = one_per_node(context, "witness")?;
    join_all(&witnesses, room)?;
    let tabs: Vec<Chat> = (0..context.nodes())
        .map(|node| on(context, node, &user, "tab"))
        .collect::<Result<_, _>>()?;
    join_all(&tabs, room)?;
    for round in 0..5 {
        let mut arg = message(room, &format!("round {round}"));
        arg["cid"] = json!(format!("cid {round}"));
        let answers = together(&tabs, |_, tab| tab.ask("message", arg.clone()));
        let mut answers = answers.into_iter().collect::<Result<Vec<_>, _>>()?;
        for tab in &tabs {
            answers.push(tab.ask("message", arg.clone())?);
        }
        for answer in &answers {
            has_fields(answer, json!({ "ok": true, "id": answers[0]["id"], "seq": round + 1 }))?;
        }
    }
    tabs[0].say(room, "the last")?;
    for witness in &witnesses {
        witness.message_with("the last")?;
        equal("the seq of the messages", &witness.seqs(room), &(1..=6).collect())?;
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
    reader.event_where("a count of 3", |event| {
        event.name == "count" && event.arg(0)[&key] == json!(3)
    })?;
    reader.join(room)?;
    author.roster_of(room, &[author.user.id, reader.user.id])?;
    numbers(context, &reader, room, 0)?;
    author.say_to(&reader, room, "read")?;
    numbers(context, &reader, room, 0)?;
    reader.leave(room)?;
    author.roster_of(room, &[author.user.id])?;
    author.say(room, "unread again")?;
    numbers(context, &reader, room, 1)
}

/// The user's unread number is `wanted` on every node.
fn numbers(context: &Context, user: &Chat, room: u64, wanted: u64) -> Outcome {
    for node in 0..context.nodes() {
        let rest = context.rest_at(node);
        context.eventually(&format!("{wanted} unread on node {node}"), || {
            let rooms = rest.rooms(&user.user.token)?;
            let entry = rooms.iter().find(|entry| entry["id"] == json!(room));
            Ok(entry.is_some_and(|entry| entry["unread"] == json!(wanted)))
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
    victim.say_to(&witness, room, "last words")?;
    context.command_node("down", there)?;
    let outcome = death_is_seen(context, &witness, room, &[witness.user.id, twofold.id])
        .and_then(|()| has_read(context, &witness, &victim, room));
    // Also after a failure: later cases need the node.
    context.command_node("up", there)?;
    outcome
}

fn death_is_seen(context: &Context, witness: &Chat, room: u64, left: &[u64]) -> Outcome {
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

/// A user of the node that died has read what was there then, and nothing after that.
fn has_read(context: &Context, witness: &Chat, victim: &Chat, room: u64) -> Outcome {
    let unread = |wanted: u64| {
        context.eventually(&format!("NODE-21: {wanted} unread for the user"), || {
            let rooms = context.rest_at(0).rooms(&victim.user.token)?;
            let entry = rooms.iter().find(|entry| entry["id"] == json!(room));
            Ok(entry.is_some_and(|entry| entry["unread"] == json!(wanted)))
        })
    };
    unread(0)?;
    witness.say(room, "after the death")?;
    unread(1)
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
