//! One log line for each change of the node's state in the cluster.

use throng_cluster::Note;

use super::cause::cause;

pub(super) fn write(note: Note) {
    match note {
        Note::Joined { node, incarnation } => {
            tracing::info!(node, incarnation, "joined the cluster")
        }
        Note::Announced { incarnation, took_ms } => {
            tracing::info!(incarnation, took_ms, "announced to the other nodes");
        }
        Note::Lapsed { incarnation, why } => {
            tracing::warn!(incarnation, why, "incarnation ended; joining again")
        }
        Note::Down { why } => {
            let cause = cause(why);
            tracing::warn!(why, cause, "Redis is unavailable; continuing without it");
        }
        // The first time too, after the start.
        Note::Up { after_ms } => tracing::info!(after_ms, "Redis is available"),
        Note::PeerJoined { incarnation } => tracing::info!(incarnation, "another node joined"),
        Note::PeerGone { incarnation } => tracing::info!(incarnation, "another node left"),
        Note::Swept { incarnation } => {
            tracing::info!(incarnation, "removed the state of a node that left")
        }
        Note::Resync { why } => tracing::info!(why, "resynchronizing after missed entries"),
    }
}
