//! One line for each join, leave and end of a session. No payload, no token, no sid.

use throng_chat::LogLine;
use tokio::sync::mpsc;

pub async fn write(mut lines: mpsc::Receiver<LogLine>) {
    while let Some(line) = lines.recv().await {
        match line {
            LogLine::Identified { session, client, user } => {
                tracing::info!(target: "throng", %session, %client, user = user.0, "identified");
            }
            // One for each event without a valid token.
            LogLine::Refused { session, client, code } => {
                tracing::debug!(target: "throng", %session, %client, code, "refused");
            }
            LogLine::Entered { session, client, user, room, online } => {
                tracing::info!(target: "throng", %session, %client, user = user.0, room = room.0, online, "entered");
            }
            LogLine::Left { session, client, user, room, online } => {
                tracing::info!(target: "throng", %session, %client, user = user.0, room = room.0, online, "left");
            }
            LogLine::Ended {
                session,
                client,
                user,
                reason,
                setting,
                transport,
                protocol,
                lifetime_ms,
                messages_in,
            } => {
                let user = user.map(|user| user.0);
                tracing::info!(
                    target: "throng",
                    %session, %client, user, reason, setting, transport, protocol, lifetime_ms, messages_in, "ended"
                );
            }
        }
    }
}
