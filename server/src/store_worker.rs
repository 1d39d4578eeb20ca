//! Carries out the commands of the shards on the store. Each gets exactly one reply.

mod lookups;
mod unsaved;

use std::collections::HashMap;
use std::sync::Arc;

use throng_chat::lane::Mark;
use throng_chat::store::Repeat;
use throng_chat::{
    AppendFault, Appended, Chat, Cid, Command, DataUrl, ImageFault, NewMessage, Numbering, Reply,
    RoomId, RoomInfo, SavedImage, Seq, StoreDown, UserCard, UserId,
};
use throng_cluster::{NumberFault, Numbers};
use throng_store::{
    AppendError, ImageError, ImageKind, RoomRow, SavedMark, Store, StoreError,
};
use tokio::sync::{Mutex, Semaphore, mpsc};

use crate::backplane::BackplaneHandle;
use crate::rows::{card, message, repeat, room_info, stored_message};
use lookups::Lookups;
use throng_runtime::link::{COMMANDS_MAX, ShardHandle};
use unsaved::Unsaved;

/// Images that are decoded and written at once.
const IMAGES_AT_ONCE_MAX: usize = 4;

/// The store as the shards see it.
pub struct StoreWorker {
    store: Store,
    numbering: Numbering,
    /// Numbers messages where the store keeps none.
    numbers: Option<BackplaneHandle>,
    /// Rooms that clients may still create.
    rooms_to_create: Mutex<u32>,
    unsaved: Unsaved,
    image_slots: Semaphore,
}

impl StoreWorker {
    pub fn new(
        store: Store,
        rooms_to_create: u32,
        numbering: Numbering,
        numbers: Option<BackplaneHandle>,
    ) -> Arc<StoreWorker> {
        let rooms_to_create = Mutex::new(rooms_to_create);
        Arc::new(StoreWorker {
            store,
            numbering,
            numbers,
            rooms_to_create,
            unsaved: Unsaved::default(),
            image_slots: Semaphore::new(IMAGES_AT_ONCE_MAX),
        })
    }

    /// Read marks whose last save has failed.
    pub fn unsaved_marks(&self) -> usize {
        self.unsaved.count()
    }
}

/// Starts commands in the order they arrive, so that appends keep their order, and replies to each when
/// it is done. Ends after the shard has.
pub async fn work(
    mut commands: mpsc::Receiver<Command>,
    handle: ShardHandle<Chat>,
    store: Arc<StoreWorker>,
) {
    let mut under_way = tokio::task::JoinSet::new();
    let mut batch = Vec::new();
    // Bounded by the commands that a shard may have unanswered.
    let mut lookups = Lookups::default();
    let mut looking = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            count = commands.recv_many(&mut batch, COMMANDS_MAX) => {
                if count == 0 {
                    break;
                }
                for command in batch.drain(..) {
                    if let Some(command) = lookups.take(command) {
                        start(command, &store, &handle, &mut under_way);
                    }
                }
            }
            _ = under_way.join_next(), if !under_way.is_empty() => {}
            _ = looking.join_next(), if !looking.is_empty() => {}
        }
        if looking.is_empty() {
            lookups.start(&store.store, &handle, &mut looking);
        }
    }
    while looking.join_next().await.is_some() {}
    while under_way.join_next().await.is_some() {}
}

fn start(
    command: Command,
    worker: &Arc<StoreWorker>,
    handle: &ShardHandle<Chat>,
    under_way: &mut tokio::task::JoinSet<()>,
) {
    let worker = Arc::clone(worker);
    let handle = handle.clone();
    match command {
        Command::Append { room, first_seq, tip, batch } => {
            if let Some(numbers) = worker.numbers.clone() {
                under_way.spawn(async move {
                    let outcome = worker.number(&numbers, room, batch).await;
                    handle.reply(Reply::Appended { room, outcome });
                });
                return;
            }
            let batch = batch.into_iter().map(message).collect();
            // The call, not the task, decides the order.
            let first_seq = first_seq.map(|seq| seq.0);
            let appended = worker.store.append_behind(room.0, first_seq, tip.0, batch);
            under_way.spawn(async move {
                let mut appended = appended.await;
                if let Err(AppendError::OutOfSequence { last_seq, messages }) = appended {
                    // A commit that was reported as failed was kept. The store numbers these messages,
                    // and the shard fetches those that it does not know.
                    tracing::warn!(
                        room = room.0,
                        last_seq,
                        "the room has other messages than known"
                    );
                    appended = worker.store.append_behind(room.0, None, tip.0, messages).await;
                }
                let outcome = match appended {
                    Ok(throng_store::Appended { first_seq, ids, repeats }) => Ok(Appended {
                        first_seq: Seq(first_seq),
                        ids,
                        repeats: repeats.into_iter().map(repeat).collect(),
                    }),
                    Err(error) => Err(append_failed(room, &error)),
                };
                handle.reply(Reply::Appended { room, outcome });
            });
        }
        Command::SaveRead { user, mark } => {
            let Mark { room, seq, is_reading, choice } = mark;
            let row = SavedMark { room: room.0, seq: seq.0, choice: choice.0 };
            let saved = worker.store.save_mark(user.0, row, is_reading);
            under_way.spawn(async move {
                let outcome = saved.await.map_err(|error| store_failed("save_read", &error));
                worker.unsaved.note(user, room, outcome.is_err());
                handle.reply(Reply::ReadSaved { user, mark, outcome });
            });
        }
        Command::CreateRoom { room } => {
            under_way.spawn(async move {
                let outcome = worker.create_room(room).await;
                handle.reply(Reply::RoomCreated { room, outcome });
            });
        }
        Command::LoadRoom { room } => {
            under_way.spawn(async move {
                let outcome = match worker.store.room(room.0).await {
                    Ok(row) => Ok(row.map(|row| worker.room_info(row))),
                    Err(error) => Err(store_failed("room", &error)),
                };
                handle.reply(Reply::RoomLoaded { room, outcome });
            });
        }
        Command::Fetch { room, after, upto } => {
            under_way.spawn(async move {
                let outcome = match worker.store.fetch(room.0, after.0, upto.0).await {
                    Ok(rows) => Ok(rows.into_iter().map(stored_message).collect()),
                    Err(error) => Err(store_failed("fetch", &error)),
                };
                handle.reply(Reply::Fetched { room, outcome });
            });
        }
        Command::CheckTokens { tokens } => {
            let store = worker.store.clone();
            under_way.spawn(async move {
                let hashes: Vec<[u8; 32]> = tokens.iter().map(|token| token.0).collect();
                let outcome = match store.authenticate_all(&hashes).await {
                    Ok(users) => {
                        let pairs = tokens.iter().zip(users);
                        Ok(pairs
                            .filter(|(_, user)| user.is_none())
                            .map(|(token, _)| *token)
                            .collect())
                    }
                    Err(error) => Err(store_failed("check_tokens", &error)),
                };
                handle.reply(Reply::TokensChecked { tokens, outcome });
            });
        }
        Command::Authenticate { .. } | Command::Reads { .. } => {
            unreachable!("lookups are started together")
        }
        Command::SaveImage { session, user, room, cid, image } => {
            under_way.spawn(async move {
                let outcome = match worker.image_of_first(user, room, cid).await {
                    Some(first) => Ok(SavedImage::OfFirst(first)),
                    None => worker.save_image(image).await.map(SavedImage::Kept),
                };
                handle.reply(Reply::ImageSaved { session, outcome });
            });
        }
    }
}

impl StoreWorker {
    /// Numbers from Redis, where rooms keep no messages. Every message needs its author's card for
    /// the other nodes.
    async fn number(
        &self,
        numbers: &BackplaneHandle,
        room: RoomId,
        batch: Vec<NewMessage>,
    ) -> Result<Appended, AppendFault> {
        let mut cards: HashMap<UserId, Arc<UserCard>> = HashMap::new();
        let mut messages = Vec::with_capacity(batch.len());
        for message in batch {
            let card = match cards.get(&message.user) {
                Some(card) => Arc::clone(card),
                None => {
                    let row = self.store.user(message.user.0).await;
                    let row = row.map_err(|error| store_failed("user", &error))?;
                    Arc::new(card(&row.ok_or(StoreDown)?))
                }
            };
            cards.insert(message.user, Arc::clone(&card));
            messages.push((message, card));
        }
        let count = messages.len();
        let numbered = numbers.number(room, messages).await;
        let Numbers { first, repeats } = numbered.map_err(|fault| match fault {
            NumberFault::Refused => AppendFault::StoreDown,
            NumberFault::Unknown => AppendFault::Unknown,
        })?;
        let new = count.saturating_sub(repeats.len()) as u64;
        // Redis cannot have counted so far.
        let id = |seq| throng_cluster::message_id(room, seq).ok_or(AppendFault::StoreDown);
        let end = first.0.checked_add(new).ok_or(AppendFault::StoreDown)?;
        Ok(Appended {
            first_seq: first,
            ids: (first.0..end).map(|seq| id(Seq(seq))).collect::<Result<_, _>>()?,
            repeats: repeats
                .into_iter()
                .map(|(index, seq)| Ok(Repeat { index, seq, id: id(seq)?, first: None }))
                .collect::<Result<_, AppendFault>>()?,
        })
    }

    /// Looked up before a picture is decoded: what is repeated costs neither the disk nor a quota.
    async fn image_of_first(
        &self,
        user: UserId,
        room: RoomId,
        cid: Option<Cid>,
    ) -> Option<Box<str>> {
        // What is stored is from a time when rooms kept messages: nothing repeats it.
        let cid = cid.filter(|_| self.numbering.keeps_messages())?;
        let cid = String::from(cid);
        // A store that cannot be asked does not take the message either.
        let found = self.store.image_of_first(room.0, user.0, &cid).await.ok()?;
        found.map(Box::from)
    }

    /// Decodes and stores an image; a few at a time, the others wait.
    async fn save_image(&self, image: DataUrl) -> Result<Box<str>, ImageFault> {
        let _slot = self.image_slots.acquire().await.map_err(|_| ImageFault::StoreDown)?;
        let bytes_max = self.store.options().image_bytes_max;
        let decoded = tokio::task::spawn_blocking(move || image.decode(bytes_max)).await;
        let bytes = decoded.map_err(|_| ImageFault::StoreDown)??;
        match self.store.save_image(ImageKind::Messages, bytes).await {
            Ok(url) => Ok(url.into()),
            Err(ImageError::Store(error)) => {
                store_failed("save_image", &error);
                Err(ImageFault::StoreDown)
            }
            Err(ImageError::TooLarge) => Err(ImageFault::TooLarge),
            Err(ImageError::Unsupported | ImageError::TooManyPixels) => Err(ImageFault::Invalid),
        }
    }

    /// Where Redis numbers the messages, the numbers of messages stored earlier do not count.
    fn room_info(&self, row: RoomRow) -> RoomInfo {
        let info = room_info(row);
        if self.numbers.is_some() { RoomInfo { last_seq: Seq(0), ..info } } else { info }
    }

    /// The lock is held across the calls: two shards must not both create the last room.
    async fn create_room(&self, room: RoomId) -> Result<Option<RoomInfo>, StoreDown> {
        let failed = |error: StoreError| store_failed("create_room", &error);
        let mut rooms_to_create = self.rooms_to_create.lock().await;
        if let Some(row) = self.store.room(room.0).await.map_err(failed)? {
            return Ok(Some(self.room_info(row)));
        }
        if *rooms_to_create == 0 {
            return Ok(None);
        }
        let row = self.store.create_room(room.0).await.map_err(failed)?;
        *rooms_to_create -= 1;
        Ok(Some(self.room_info(row)))
    }
}

fn append_failed(room: RoomId, error: &AppendError) -> AppendFault {
    tracing::warn!(room = room.0, %error, "messages could not be stored");
    match error {
        AppendError::Unknown(_) => AppendFault::Unknown,
        AppendError::UnknownRoom | AppendError::OutOfSequence { .. } | AppendError::Store(_) => {
            AppendFault::StoreDown
        }
    }
}

fn store_failed(call: &'static str, error: &StoreError) -> StoreDown {
    tracing::warn!(call, %error, "the store failed a command");
    StoreDown
}

#[cfg(test)]
mod tests {
    use throng_chat::{InvalidTokens, LoadId, TokenHash};
    use throng_engine::{Keyed, SessionId, ShardId};
    use throng_mesh::Bell;
    use throng_store::{Options, PasswordCost};

    use super::*;

    /// A database that others may write as well, as several nodes have it.
    async fn store(dir: &std::path::Path) -> Store {
        let options = Options {
            password_cost: PasswordCost::Cheapest,
            is_exclusive: false,
            min_free_mb: 0,
            ..Options::new(dir.to_owned())
        };
        Store::open(&options.default_url(), options).await.expect("a new database")
    }

    #[tokio::test]
    async fn a_number_that_a_kept_commit_has_taken_is_read_again() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let store = store(dir.path()).await;
        store.create_room(1).await.expect("a room");
        let message = |text: &str| NewMessage {
            user: UserId(1),
            msg: text.into(),
            img: "".into(),
            time: "".into(),
            cid: None,
        };
        // The shard does not know of these.
        let kept = [message("one"), message("two")].map(crate::rows::message).to_vec();
        store.append(1, None, kept).await.expect("append");
        let bell = Arc::new(Bell::new().expect("a descriptor"));
        let (mut shards, mut http) = throng_runtime::link::channels::<Chat>(&[bell]);
        let mut shard = shards.remove(0);
        let handle = http.handles.iter().next().expect("there is one shard").clone();
        let worker = StoreWorker::new(store.clone(), 0, Numbering::Database, None);
        let working = tokio::spawn(work(http.commands.remove(0), handle, worker));
        let room = RoomId(1);
        let (first_seq, batch) = (Some(Seq(1)), vec![message("three")]);
        let append = Command::Append { room, first_seq, tip: Seq(0), batch };
        assert!(shard.commands.try_send(append).is_ok(), "the lane is empty");
        let Some(Reply::Appended { outcome: Ok(appended), .. }) = shard.replies.recv().await else {
            panic!("the message is refused")
        };
        assert_eq!(appended.first_seq, Seq(3));
        let rows = store.fetch(1, 0, 10).await.expect("fetch");
        let texts: Vec<&str> = rows.iter().map(|row| row.msg.as_str()).collect();
        assert_eq!(texts, ["one", "two", "three"]);
        // The database was restored from a copy: the members have seen fifty messages.
        for first_seq in [Some(Seq(51)), None] {
            let batch = vec![message("after")];
            let append = Command::Append { room, first_seq, tip: Seq(50), batch };
            assert!(shard.commands.try_send(append).is_ok(), "the lane is empty");
            let Some(Reply::Appended { outcome: Ok(appended), .. }) = shard.replies.recv().await
            else {
                panic!("the message is refused")
            };
            assert_eq!(appended.first_seq, Seq(if first_seq.is_some() { 51 } else { 52 }));
        }
        drop(shard);
        working.await.expect("it ends with the shard");
    }

    const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

    /// The images below a folder, not its marks.
    fn files(folder: &std::path::Path) -> usize {
        let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
        let paths = entries.map(|entry| entry.expect("entry").path());
        let paths = paths.filter(|path| path.file_name().is_none_or(|name| name != ".throng"));
        paths.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
    }

    /// Messages with an image, as shards send them.
    #[tokio::test]
    async fn a_message_that_is_a_repeat_leaves_no_image() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let images = dir.path().join("storage/images");
        let store = store(dir.path()).await;
        store.create_room(1).await.expect("a room");
        let bell = Arc::new(Bell::new().expect("a descriptor"));
        let (mut shards, mut http) = throng_runtime::link::channels::<Chat>(&[bell]);
        let mut shard = shards.remove(0);
        let handle = http.handles.iter().next().expect("there is one shard").clone();
        let worker = StoreWorker::new(store.clone(), 0, Numbering::Database, None);
        let working = tokio::spawn(work(http.commands.remove(0), handle, worker));
        let session = SessionId::new(ShardId(0), 1, 1);
        let (user, cid) = (UserId(1), Cid::new("once"));
        let save = |image: &str| Command::SaveImage {
            session,
            user,
            room: RoomId(1),
            cid: cid.clone(),
            image: DataUrl::new(format!("image/png;base64,{image}").into()),
        };
        let mut ask = async |command: Command| {
            assert!(shard.commands.try_send(command).is_ok(), "the lane is empty");
            shard.replies.recv().await.expect("the worker works")
        };
        let saved = |reply| match reply {
            Reply::ImageSaved { outcome: Ok(saved), .. } => saved,
            _ => panic!("the image is refused"),
        };
        let SavedImage::Kept(url) = saved(ask(save(PNG)).await) else { panic!("it is new") };
        let batch = vec![NewMessage {
            user,
            msg: "".into(),
            img: url.clone(),
            time: "".into(),
            cid: cid.clone(),
        }];
        let appended =
            ask(Command::Append { room: RoomId(1), first_seq: None, tip: Seq(0), batch }).await;
        assert!(matches!(appended, Reply::Appended { outcome: Ok(_), .. }));
        assert_eq!(files(&images), 1);
        // Another image with the client id of a stored message is not even decoded.
        assert_eq!(saved(ask(save("bm90IGFuIGltYWdl")).await), SavedImage::OfFirst(url));
        assert_eq!(files(&images), 1);
        drop(shard);
        working.await.expect("it ends with the shard");
    }

    /// The database may have messages of a time when rooms kept them.
    #[tokio::test]
    async fn where_rooms_keep_nothing_no_stored_message_is_repeated() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let store = store(dir.path()).await;
        store.create_room(1).await.expect("a room");
        let (user, cid) = (UserId(1), Cid::new("once"));
        let kept = NewMessage {
            user,
            msg: "".into(),
            img: "/storage/images/messages/aa/aa.png".into(),
            time: "".into(),
            cid: cid.clone(),
        };
        store.append(1, None, vec![crate::rows::message(kept)]).await.expect("append");
        for (numbering, is_repeat) in [
            (Numbering::Home, false),
            (Numbering::Redis, false),
            (Numbering::HomeChecked, true),
            (Numbering::Database, true),
        ] {
            let worker = StoreWorker::new(store.clone(), 0, numbering, None);
            let first = worker.image_of_first(user, RoomId(1), cid.clone()).await;
            assert_eq!(first.is_some(), is_repeat, "{numbering:?}");
        }
    }

    #[test]
    fn threads_at_once_take_no_more_than_a_user_has() {
        let settings =
            throng_chat::Settings { uploads_per_minute: 60, ..throng_chat::Settings::default() };
        let quotas = throng_chat::Quotas::new(&settings);
        let now = throng_engine::Now(5_000_000_000);
        let take = || (0..1000).filter(|_| quotas.take_upload(now, UserId(1), 1).is_ok()).count();
        let taken: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            threads.into_iter().map(|thread| thread.join().expect("join")).sum()
        });
        assert_eq!(taken, 60);
    }

    #[tokio::test]
    async fn lookups_that_arrive_during_another_are_answered_as_well() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let store = store(dir.path()).await;
        let bell = Arc::new(Bell::new().expect("a descriptor"));
        let (mut shards, mut http) = throng_runtime::link::channels::<Chat>(&[bell]);
        let mut shard = shards.remove(0);
        let handle = http.handles.iter().next().expect("there is one shard").clone();
        let commands = http.commands.remove(0);
        let worker = StoreWorker::new(store, 0, Numbering::Database, None);
        let working = tokio::spawn(work(commands, handle, worker));
        let address = std::net::IpAddr::from([192, 0, 2, 1]);
        let client = InvalidTokens::bucket(&Keyed::new([0; 16]), address.into());
        for n in 0..200 {
            let session = SessionId::new(ShardId(0), n, 1);
            let command = if n % 2 == 0 {
                Command::Authenticate { session, token: TokenHash([n as u8; 32]), client }
            } else {
                Command::Reads { user: UserId(n), load: LoadId(1) }
            };
            shard.commands.try_send(command).expect("fewer than the lane takes");
            tokio::task::yield_now().await;
        }
        let mut answered = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let number = match shard.replies.recv().await.expect("the HTTP thread works") {
                Reply::Authenticated { session, outcome: Ok(None), .. } => session.slot(),
                Reply::Reads { user, outcome: Ok(_), .. } => user.0,
                _ => panic!("nothing else was asked"),
            };
            assert!(answered.insert(number), "each once");
        }
        drop(shard);
        working.await.expect("it ends with the shard");
    }
}
