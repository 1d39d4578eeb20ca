//! Lookups of many sessions in one statement: the user of a token, the read marks of a user. Lookups
//! that arrive while a statement runs form the next one: the more there are, the less each costs.

use std::sync::Arc;

use throng_chat::lane::Mark;
use throng_chat::{
    Chat, Choice, ClientBucket, Command, LoadId, Reply, RoomId, Seq, StoreDown, TokenHash, UserId,
};
use throng_engine::SessionId;
use throng_store::{SavedMark, Store};
use tokio::task::JoinSet;

use super::store_failed;
use crate::rows::card;
use throng_runtime::link::ShardHandle;

#[derive(Default)]
pub(super) struct Lookups {
    tokens: Vec<(SessionId, TokenHash, ClientBucket)>,
    users: Vec<(UserId, LoadId)>,
}

impl Lookups {
    /// Takes the command if it is a lookup.
    pub(super) fn take(&mut self, command: Command) -> Option<Command> {
        match command {
            Command::Authenticate { session, token, client } => {
                self.tokens.push((session, token, client));
            }
            Command::Reads { user, load } => self.users.push((user, load)),
            other @ (Command::CheckTokens { .. }
            | Command::Append { .. }
            | Command::CreateRoom { .. }
            | Command::LoadRoom { .. }
            | Command::Fetch { .. }
            | Command::SaveRead { .. }
            | Command::SaveImage { .. }) => return Some(other),
        }
        None
    }

    /// Starts all lookups that have gathered.
    pub(super) fn start(
        &mut self,
        store: &Store,
        handle: &ShardHandle<Chat>,
        under_way: &mut JoinSet<()>,
    ) {
        let Lookups { tokens, users } = std::mem::take(self);
        if !tokens.is_empty() {
            let (store, handle) = (store.clone(), handle.clone());
            under_way.spawn(async move { handle.reply_all(authenticate(&store, tokens).await) });
        }
        if !users.is_empty() {
            let (store, handle) = (store.clone(), handle.clone());
            under_way.spawn(async move { handle.reply_all(reads(&store, users).await) });
        }
    }
}

async fn authenticate(
    store: &Store,
    asked: Vec<(SessionId, TokenHash, ClientBucket)>,
) -> Vec<Reply> {
    let hashes: Vec<[u8; 32]> = asked.iter().map(|(_, token, _)| token.0).collect();
    let outcomes: Vec<_> = match store.authenticate_all(&hashes).await {
        Ok(users) => users.iter().map(|user| Ok(user.as_ref().map(card).map(Arc::new))).collect(),
        Err(error) => vec![Err(store_failed("authenticate", &error)); asked.len()],
    };
    let replies = asked.into_iter().zip(outcomes);
    replies
        .map(|((session, token, client), outcome)| Reply::Authenticated {
            session,
            token,
            client,
            outcome,
        })
        .collect()
}

async fn reads(store: &Store, users: Vec<(UserId, LoadId)>) -> Vec<Reply> {
    let asked: Vec<u32> = users.iter().map(|(user, _)| user.0).collect();
    let outcomes: Vec<Result<Vec<Mark>, StoreDown>> = match store.marks_all(&asked).await {
        Ok(users) => {
            users.into_iter().map(|marks| Ok(marks.into_iter().map(mark).collect())).collect()
        }
        Err(error) => vec![Err(store_failed("reads", &error)); users.len()],
    };
    let replies = users.into_iter().zip(outcomes);
    replies.map(|((user, load), outcome)| Reply::Reads { user, load, outcome }).collect()
}

fn mark(saved: SavedMark) -> Mark {
    let SavedMark { room, seq, choice } = saved;
    Mark { room: RoomId(room), seq: Seq(seq), is_reading: false, choice: Choice(choice) }
}
