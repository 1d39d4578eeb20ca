//! The clients of a script and what they have seen.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use throng_codec::engine::Protocol;

use super::model::Model;
use super::script::{CLIENTS, Mode, ROOMS, Script, USERS};
use super::{Broken, Play, Violation};
use crate::client::ClientError;
use crate::client::chat::Chat;
use crate::client::options::{Options, Transport};
use crate::client::rest::User;
use crate::combo::{Combo, E3P, E3W, E4P, E4W};
use crate::context::Context;
use crate::outcome::Stop;

/// The observer's user comes after those of the clients.
pub const OBSERVER: usize = USERS;

pub struct Actor {
    pub number: usize,
    /// The node that the session is on.
    pub node: usize,
    pub chat: Chat,
    pub combo: Combo,
}

/// A full member that stays: it sees what all members on its node should see.
pub struct Observer {
    pub room: usize,
    pub actor: Actor,
}

/// The state of one script: its rooms, users, sessions and the model.
pub struct Stage<'a> {
    pub context: &'a Context,
    pub rooms: [u64; ROOMS],
    pub users: Vec<User>,
    pub clients: Vec<Option<Actor>>,
    /// Sessions that ended; what they received is still checked.
    pub ended: Vec<Actor>,
    /// One per room and node.
    pub observers: Vec<Observer>,
    /// The nodes that were killed.
    pub down: BTreeSet<usize>,
    pub model: Model,
    /// Time for the state to become correct at rest.
    pub timeout: Duration,
    combos: Vec<Combo>,
    numbers: usize,
    /// How often each client has connected: it uses another node each time.
    visits: [usize; CLIENTS],
}

impl<'a> Stage<'a> {
    pub fn set(context: &'a Context, script: &Script, timeout: Duration) -> Play<Stage<'a>> {
        let room = || context.room().map_err(refused);
        let rooms = [room()?, room()?];
        let users =
            (0..=OBSERVER).map(|_| context.user().map_err(refused)).collect::<Play<Vec<User>>>()?;
        let spoken: Vec<Combo> = [E4W, E3W, E4P, E3P]
            .into_iter()
            .filter(|combo| context.capabilities().speaks(*combo))
            .collect();
        let combos = (0..CLIENTS)
            .map(|client| {
                let choice = script.combos.get(client).copied().unwrap_or(0);
                spoken[choice % spoken.len()]
            })
            .collect();
        let mut stage = Stage {
            context,
            rooms,
            users,
            clients: Vec::new(),
            ended: Vec::new(),
            observers: Vec::new(),
            down: BTreeSet::new(),
            model: Model { seq: rooms.map(|room| context.base(room)), ..Model::default() },
            timeout,
            combos,
            numbers: 0,
            visits: [0; CLIENTS],
        };
        stage.read_marks()?;
        for node in 0..context.nodes() {
            stage.observe(node)?;
        }
        for client in 0..CLIENTS {
            let actor = stage.connect_client(client)?;
            stage.clients.push(Some(actor));
        }
        Ok(stage)
    }

    /// What the users have read in rooms that were there before, as the target says; in a new room there is nothing.
    fn read_marks(&mut self) -> Play<()> {
        if self.context.capabilities().rooms_on_demand {
            return Ok(());
        }
        for (user, account) in self.users.iter().enumerate() {
            let listed = self.context.rest().rooms(&account.token);
            let listed = listed.map_err(|why| harness(format!("the rooms: {why}")))?;
            for (room, id) in self.rooms.iter().enumerate() {
                let entry = listed.iter().find(|entry| entry["id"] == json!(id));
                let unread = entry.and_then(|entry| entry["unread"].as_u64());
                let unread =
                    unread.ok_or_else(|| harness(format!("no unread number of room {id}")))?;
                let mark = self.model.seq[room].checked_sub(unread);
                let mark = mark.ok_or_else(|| harness(format!("{unread} unread in room {id}")))?;
                self.model.marks.insert((user, room), mark);
            }
        }
        Ok(())
    }

    /// Puts an observer into every room of a node.
    pub fn observe(&mut self, node: usize) -> Play<()> {
        let combo = self.context.capabilities().preferred().unwrap_or(E4W);
        for room in 0..ROOMS {
            let actor = self.connect(OBSERVER, node, combo, &format!("observer{room}@{node}"))?;
            let answer = actor
                .chat
                .ask("room", json!({ "roomid": self.rooms[room] }))
                .map_err(|why| harness(format!("the observer cannot join: {why}")))?;
            if answer["ok"] != json!(true) {
                return Err(harness(format!("the observer cannot join: {answer}")));
            }
            let before = self.model.seq[room];
            self.model.join(actor.number, room, Mode::Full, before, before);
            self.observers.push(Observer { room, actor });
        }
        Ok(())
    }

    /// Clients of one user start on different nodes, and a client that reconnects uses the next one.
    pub fn connect_client(&mut self, client: usize) -> Play<Actor> {
        let live: Vec<usize> =
            (0..self.context.nodes()).filter(|node| !self.down.contains(node)).collect();
        let place = client % USERS + client / USERS + self.visits[client];
        self.visits[client] += 1;
        let node = live[place % live.len()];
        let label = match self.context.nodes() {
            1 => format!("client{client}"),
            _ => format!("client{client}@{node}"),
        };
        self.connect(client % USERS, node, self.combos[client], &label)
    }

    fn connect(&mut self, user: usize, node: usize, combo: Combo, label: &str) -> Play<Actor> {
        let options = Options::new(combo.protocol, combo.transport);
        let chat = self
            .context
            .chat_at(node, &self.users[user], label, options)
            .map_err(|why| violation("TRN-44", "a session", format!("{label}: {why}")))?;
        let number = self.numbers;
        self.numbers += 1;
        self.model.connect(number, user, combo.protocol == Protocol::Eio3);
        Ok(Actor { number, node, chat, combo })
    }

    pub fn client(&self, client: usize) -> Option<&Actor> {
        self.clients.get(client)?.as_ref()
    }

    /// The room's observer on the first node, which is never killed.
    pub fn observer(&self, room: usize) -> &Actor {
        &self.observers[room].actor
    }

    pub fn can_upgrade(&self, client: usize) -> bool {
        self.context.capabilities().upgrade
            && self.client(client).is_some_and(|actor| actor.combo.transport == Transport::Polling)
    }

    /// All sessions that are open now.
    pub fn live(&self) -> impl Iterator<Item = &Actor> {
        let observers = self.observers.iter().map(|observer| &observer.actor);
        observers.chain(self.clients.iter().flatten())
    }

    /// All sessions of the script, open or ended.
    pub fn all(&self) -> impl Iterator<Item = &Actor> {
        self.live().chain(&self.ended)
    }

    pub fn actor(&self, number: usize) -> Option<&Actor> {
        self.live().find(|actor| actor.number == number)
    }

    /// The user ids that the model says are present.
    pub fn present_ids(&self, room: usize) -> Vec<u64> {
        let mut ids: Vec<u64> =
            self.model.present(room).into_iter().map(|user| self.users[user].id).collect();
        ids.sort_unstable();
        ids
    }

    pub fn ask(&self, actor: &Actor, name: &str, arg: Value) -> Play<Value> {
        actor.chat.ask(name, arg).map_err(|why| no_answer(name, &why))
    }
}

pub fn no_answer(name: &str, why: &ClientError) -> Broken {
    violation("SIO-40", format!("an acknowledgement of {name}"), why.to_string())
}

pub fn violation(
    clause: &'static str,
    expected: impl Into<String>,
    observed: impl Into<String>,
) -> Broken {
    Broken::Violation(Violation {
        clause,
        expected: expected.into(),
        observed: observed.into(),
        step: None,
    })
}

pub fn harness(why: impl Into<String>) -> Broken {
    Broken::Harness(why.into())
}

pub fn refused(stop: Stop) -> Broken {
    match stop {
        Stop::Skip(why) | Stop::Error(why) => Broken::Harness(why),
        Stop::Fail { observed, .. } => Broken::Harness(observed),
    }
}
