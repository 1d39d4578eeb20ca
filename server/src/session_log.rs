//! One line for each join, leave and end of a session. No payload, no token, no sid.

use throng_chat::LogLine;
use tokio::sync::mpsc;

pub async fn write(mut lines: mpsc::Receiver<LogLine>) {
    while let Some(line) = lines.recv().await {
        match line {
            LogLine::Entered { session, user, room, online } => {
                tracing::info!(target: "throng", %session, user = user.0, room = room.0, online, "entered");
            }
            LogLine::Left { session, user, room, online } => {
                tracing::info!(target: "throng", %session, user = user.0, room = room.0, online, "left");
            }
            LogLine::Ended {
                session,
                user,
                reason,
                transport,
                protocol,
                lifetime_ms,
                messages_in,
            } => {
                let user = user.map(|user| user.0);
                tracing::info!(
                    target: "throng",
                    %session, user, reason, transport, protocol, lifetime_ms, messages_in, "ended"
                );
            }
        }
    }
}
