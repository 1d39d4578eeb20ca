//! One line of the log for each change of the node's standing.

use throng_cluster::Note;

pub(super) fn write(note: Note) {
    match note {
        Note::Joined { node, incarnation } => tracing::info!(node, incarnation, "node joined"),
        Note::Announced { incarnation, took_ms } => {
            tracing::info!(incarnation, took_ms, "node announced");
        }
        Note::Lapsed { incarnation, why } => tracing::warn!(incarnation, why, "node lapsed"),
        Note::Down { why } => tracing::warn!(why, "redis cannot be used; chat goes on without it"),
        Note::Up { after_ms } => tracing::info!(after_ms, "redis is used again"),
        Note::PeerJoined { incarnation } => tracing::info!(incarnation, "another node joined"),
        Note::PeerGone { incarnation } => tracing::info!(incarnation, "another node is gone"),
        Note::Swept { incarnation } => tracing::info!(incarnation, "swept what a node left behind"),
        Note::Resync { why } => tracing::info!(why, "reading again what was missed"),
    }
}
