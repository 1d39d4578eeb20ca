//! The backplane: everything that speaks to Redis.
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
pub mod orders;
pub mod pool;
mod reader;
pub mod script;
pub mod settings;

pub use address::Address;
pub use call::Call;
pub use connector::Connector;
pub use failure::Failure;
pub use pool::Commands;
pub use settings::Settings;
