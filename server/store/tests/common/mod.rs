#![allow(dead_code, reason = "each test binary uses a part")]

pub mod servers;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::AnyPool;
use tempfile::TempDir;
use throng_health::State;
use throng_store::{ClientKey, NewMessage, NewUser, Options, PasswordCost, Store, UserRow};

use servers::Server;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavor {
    Sqlite,
    Postgres,
    Mariadb,
}

tokio::task_local! {
    /// The server of new databases; without it, each is a file.
    pub static SERVER: Arc<Server>;
}

pub struct Bench {
    pub dir: TempDir,
    pub flavor: Flavor,
    pub url: String,
    pub store: Store,
}

/// Who asks for hashes.
pub fn client() -> ClientKey {
    IpAddr::from(Ipv4Addr::LOCALHOST).into()
}

pub fn options(dir: &TempDir) -> Options {
    // Other nodes of these tests share the file, and the disk of the tests may be nearly full.
    Options {
        password_cost: PasswordCost::Cheapest,
        is_exclusive: false,
        min_free_mb: 0,
        ..Options::new(dir.path())
    }
}

pub async fn bench() -> Bench {
    bench_with(|_| ()).await
}

pub async fn bench_with(change: impl FnOnce(&mut Options)) -> Bench {
    let dir = tempfile::tempdir().expect("tempdir");
    let mut options = options(&dir);
    change(&mut options);
    let (flavor, url) = new_database(&options).await;
    let store = Store::open(&url, options).await.expect("open");
    store.ensure_rooms(&[(1, "Lobby".into()), (2, "Lounge".into())]).await.expect("rooms");
    Bench { dir, flavor, url, store }
}

/// A database that is empty, or a file that is not there yet.
pub async fn new_database(options: &Options) -> (Flavor, String) {
    match SERVER.try_with(Arc::clone) {
        Ok(server) => (server.flavor, server.new_database().await),
        Err(_) => (Flavor::Sqlite, options.default_url()),
    }
}

/// The server must know within this time that it cannot serve (REST-75).
pub const DOWN_WITHIN: Duration = Duration::from_secs(2);
/// It must serve again within this time after a fault has ended (REST-75).
pub const UP_WITHIN: Duration = Duration::from_secs(5);

impl Bench {
    /// What the store says of one of its dependencies.
    pub fn health(&self, name: &str) -> State {
        self.store.options().health.state(name).expect("the store reports it")
    }

    /// Waits for a state, and fails when it does not come in time.
    pub async fn until(&self, name: &str, limit: Duration, is_met: impl Fn(&State) -> bool) {
        until(&self.store, name, limit, is_met).await;
    }

    /// A second connection to the database, next to the store.
    pub async fn second_db(&self) -> AnyPool {
        AnyPool::connect(&self.url).await.expect("connect")
    }

    /// The store as another node sees it.
    pub async fn node(&self, name: &str) -> Store {
        let options = Options { node: name.into(), ..options(&self.dir) };
        Store::open(&self.url, options).await.expect("open")
    }

    pub async fn user(&self, email: &str) -> UserRow {
        let new = NewUser {
            email: email.into(),
            password: "secret".into(),
            avatar: "/avatars/0.svg".into(),
        };
        self.store.register(new, client()).await.expect("register").user
    }
}

/// Waits for a state of what a store depends on, and fails when it does not come in time.
pub async fn until(store: &Store, name: &str, limit: Duration, is_met: impl Fn(&State) -> bool) {
    let begun = Instant::now();
    loop {
        let state = store.options().health.state(name).expect("the store reports it");
        if is_met(&state) {
            return;
        }
        assert!(begun.elapsed() < limit, "{name} is still {state} after {limit:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub fn text(user: u32, msg: &str) -> NewMessage {
    NewMessage {
        user,
        msg: msg.into(),
        img: String::new(),
        time: "2026-11-23T00:31:11.784Z".into(),
        cid: None,
    }
}

/// A message that its author may send again.
pub fn with_cid(user: u32, msg: &str, cid: &str) -> NewMessage {
    NewMessage { cid: Some(cid.into()), ..text(user, msg) }
}

pub fn texts(user: u32, from: u64, to: u64) -> Vec<NewMessage> {
    (from..=to).map(|n| text(user, &n.to_string())).collect()
}
