//! The clients of a script and what they have seen.

use std::time::Duration;

use serde_json::{Value, json};

use super::model::Model;
use super::script::{CLIENTS, Mode, ROOMS, Script, USERS};
use super::{Broken, Play, Violation};
use crate::case::{Combo, E3P, E3W, E4P, E4W, Stop};
use crate::client::Trouble;
use crate::client::chat::Chat;
use crate::client::rest::User;
use crate::client::socket::{Options, Transport};
use crate::codec::engine::Protocol;
use crate::context::Context;

/// The observer's user comes after those of the clients.
pub const OBSERVER: usize = USERS;

pub struct Actor {
    pub number: usize,
    pub chat: Chat,
    pub combo: Combo,
}

/// The stage of one script: its rooms, users and sessions, and the model beside them.
pub struct Stage<'a> {
    pub context: &'a Context,
    pub rooms: [u64; ROOMS],
    pub users: Vec<User>,
    pub clients: Vec<Option<Actor>>,
    /// Sessions that ended; what they had received still counts.
    pub ended: Vec<Actor>,
    /// One per room, always a full member: it sees what everybody should.
    pub observers: Vec<Actor>,
    pub model: Model,
    /// How long what is right at rest may take to get right.
    pub patience: Duration,
    combos: Vec<Combo>,
    numbers: usize,
}

impl<'a> Stage<'a> {
    pub fn set(context: &'a Context, script: &Script, patience: Duration) -> Play<Stage<'a>> {
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
            model: Model::default(),
            patience,
            combos,
            numbers: 0,
        };
        for room in 0..ROOMS {
            let actor = stage.connect(OBSERVER, spoken[0], &format!("observer{room}"))?;
            let answer = actor
                .chat
                .ask("room", json!({ "roomid": stage.rooms[room] }))
                .map_err(|why| harness(format!("the observer cannot join: {why}")))?;
            if answer["ok"] != json!(true) {
                return Err(harness(format!("the observer cannot join: {answer}")));
            }
            stage.model.join(actor.number, room, Mode::Full, 0, 0);
            stage.observers.push(actor);
        }
        for client in 0..CLIENTS {
            let actor = stage.connect_client(client)?;
            stage.clients.push(Some(actor));
        }
        Ok(stage)
    }

    pub fn connect_client(&mut self, client: usize) -> Play<Actor> {
        self.connect(client % USERS, self.combos[client], &format!("client{client}"))
    }

    fn connect(&mut self, user: usize, combo: Combo, label: &str) -> Play<Actor> {
        let options = Options::new(combo.protocol, combo.transport);
        let chat = self
            .context
            .chat_over(&self.users[user], label, options)
            .map_err(|why| violation("TRN-44", "a session", format!("{label}: {why}")))?;
        let number = self.numbers;
        self.numbers += 1;
        self.model.connect(number, user, combo.protocol == Protocol::Eio3);
        Ok(Actor { number, chat, combo })
    }

    pub fn client(&self, client: usize) -> Option<&Actor> {
        self.clients.get(client)?.as_ref()
    }

    pub fn can_upgrade(&self, client: usize) -> bool {
        self.context.capabilities().upgrade
            && self.client(client).is_some_and(|actor| actor.combo.transport == Transport::Polling)
    }

    /// All sessions that are open now.
    pub fn live(&self) -> impl Iterator<Item = &Actor> {
        self.observers.iter().chain(self.clients.iter().flatten())
    }

    /// All sessions there ever were.
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

pub fn no_answer(name: &str, why: &Trouble) -> Broken {
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

fn refused(stop: Stop) -> Broken {
    match stop {
        Stop::Skip(why) | Stop::Error(why) => Broken::Harness(why),
        Stop::Fail { observed, .. } => Broken::Harness(observed),
    }
}
