//! Everything that talks to Redis: the logs, leases and sets of the cluster, and the broadcasts of
//! Socket.IO's Redis adapter.
//!
//! ```text
//!  cluster ── orders ──► orders ──► pool, reader ──► link ──► Redis
//!  shards ◄── emits ──── ingress ◄── adapter ◄── subscription ──┤
//!  shards ── messages ─► egress ──► adapter ──► pool ───────────┘
//! ```
//!
//! | module | content |
//! |---|---|
//! | `address`, `settings` | the operator's URL and limits |
//! | `connector`, `link`, `pool` | opening connections, one connection, the pool for commands |
//! | `call`, `script`, `reply` | commands, Lua scripts, answers |
//! | `orders`, `reader` | the orders of the cluster's state machine; blocking reads of the logs |
//! | `adapter`, `names` | the adapter's format and channels; names of rooms and users |
//! | `ingress`, `egress`, `counters` | broadcasts of other programs, our messages for them, and their counters |
//! | `failure`, `unwritable`, `obstacle` | why a command, writes, or a connection failed |
//! | `rights` | what a node may do and Redis takes, tried at the start |
//!
//! Every call has a time limit. Nothing scans or empties the database, and no log shows a password.
#![forbid(unsafe_code)]

pub mod adapter;
pub mod address;
pub mod call;
pub mod connector;
pub mod counters;
pub mod egress;
pub mod failure;
pub mod ingress;
pub mod link;
pub mod names;
pub mod obstacle;
pub mod orders;
pub mod pool;
mod reader;
mod reply;
pub mod rights;
pub mod script;
pub mod settings;
pub mod unwritable;

pub use address::Address;
pub use call::Call;
pub use connector::Connector;
pub use failure::Failure;
pub use pool::Commands;
pub use settings::Settings;
pub use unwritable::Unwritable;
