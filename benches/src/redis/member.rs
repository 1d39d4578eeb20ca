//! A session in a room.

use std::net::TcpStream;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use anyhow::Context as _;
use tungstenite::{Message, WebSocket};

pub struct Member {
    session: WebSocket<TcpStream>,
}

impl Member {
    /// A session of the token's user, in the room.
    pub fn enter(node: &str, token: &str, room: u32) -> anyhow::Result<Self> {
        let host = node.trim_start_matches("http://");
        let stream = TcpStream::connect(host).with_context(|| format!("connect to {host}"))?;
        stream.set_nodelay(true)?;
        let url = format!("ws://{host}/socket.io/?EIO=4&transport=websocket");
        let (session, _) = tungstenite::client(url, stream)?;
        let mut member = Self { session };
        member.session.send(Message::text(format!(r#"40{{"token":"{token}"}}"#)))?;
        member.join(room)?;
        Ok(member)
    }

    /// Enters one room more, and waits until it is in.
    pub fn join(&mut self, room: u32) -> anyhow::Result<()> {
        let join = format!(r#"420["room",{{"roomid":{room},"presence":"count"}}]"#);
        self.session.send(Message::text(join))?;
        while !self.text()?.starts_with("430[") {}
        Ok(())
    }

    /// The sending side of a session that does not listen.
    pub fn stream(&self) -> anyhow::Result<TcpStream> {
        Ok(self.session.get_ref().try_clone()?)
    }

    /// The next text; pings are answered.
    fn text(&mut self) -> anyhow::Result<String> {
        loop {
            let Message::Text(text) = self.session.read()? else { continue };
            if text.as_str() != "2" {
                return Ok(text.as_str().to_owned());
            }
            self.session.send(Message::text("3"))?;
        }
    }

    /// When each event of this name arrives, until the session ends or the receiver is dropped.
    pub fn listen(mut self, event: &str) -> Receiver<Instant> {
        let (sender, arrivals) = channel();
        let prefix = format!(r#"42["{event}""#);
        thread::spawn(move || {
            while let Ok(text) = self.text() {
                if text.starts_with(&prefix) && sender.send(Instant::now()).is_err() {
                    return;
                }
            }
        });
        arrivals
    }
}
