//! The core as the runtime sees it: inputs in, effects and bytes out, on one and on several shards.

mod account;
mod bodies;
mod chat;
mod cluster;
mod endings;
mod following;
mod limits;
mod presence;
mod repeats;
mod transport;
mod unread;
mod world;
