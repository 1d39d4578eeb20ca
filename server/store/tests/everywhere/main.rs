//! The guarantees of the store, on every database. Each scenario is a test on SQLite, and a step of
//! the test of each database server, which is started once and gets a new database per scenario.

#[path = "../common/mod.rs"]
mod common;

mod accounts;
mod commit;
mod faults;
mod history;
mod migrations;
mod nodes;
mod repeats;

use std::pin::Pin;
use std::sync::Arc;

use common::servers::Server;
use common::{Flavor, SERVER};

type Scenario = (&'static str, fn() -> Pin<Box<dyn Future<Output = ()>>>);

/// Makes the tests on SQLite, and the list for the servers.
macro_rules! everywhere {
    ($($name:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test] async fn $name() { super::$name().await; })+
        }
        pub const SCENARIOS: &[$crate::Scenario] =
            &[$((stringify!($name), || Box::pin($name()))),+];
    };
}
pub(crate) use everywhere;

#[tokio::test]
async fn postgres() {
    check(Flavor::Postgres).await;
}

#[tokio::test]
async fn mariadb() {
    check(Flavor::Mariadb).await;
}

async fn check(flavor: Flavor) {
    let server = Arc::new(Server::start(flavor).await);
    let everywhere = [
        accounts::SCENARIOS,
        commit::SCENARIOS,
        history::SCENARIOS,
        migrations::SCENARIOS,
        nodes::SCENARIOS,
        repeats::SCENARIOS,
    ];
    // The last scenarios kill the server.
    for (name, scenario) in everywhere.into_iter().chain([faults::SCENARIOS]).flatten() {
        eprintln!("{flavor:?}: {name}");
        SERVER.scope(Arc::clone(&server), scenario()).await;
    }
}
