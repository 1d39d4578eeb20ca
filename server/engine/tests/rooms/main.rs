//! `throng_engine::rooms` on several shards that are driven by hand through tiny lanes.

mod admission;
mod connections;
mod memberships;
mod net;
mod polling;
mod state;
