//! Rooms as the Socket.IO tutorial shows them: join, leave, disconnect, broadcast, ack.
//!
//! `cargo run --example rooms -- --listen 127.0.0.1:0` serves stock clients:
//!
//! ```js
//! socket.emit("join", "lobby", ({ ok }) => {});   // members hear joined { room, id }
//! socket.emit("say", { room: "lobby", text: "hello" }, ({ ok }) => {});   // said { room, id, text }
//! socket.emit("leave", "lobby", ({ ok }) => {});  // left { room, id }, as when a client disconnects
//! ```
//! An Engine.IO 3 client is known by its session id, which is a secret: see `Socket::id`.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use serde::Deserialize;
use serde_json::json;
use throng_engine::rooms::{Event, Handler, Rooms, Settings, Socket};
use throng_runtime::{Options, serve};

#[derive(Parser)]
struct Args {
    /// Address to serve; port 0 picks a free one.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
}

#[derive(Clone)]
struct Tutorial;

#[derive(Deserialize)]
struct Say {
    room: String,
    text: String,
}

impl Handler for Tutorial {
    fn event(&mut self, socket: &mut Socket<'_>, event: Event<'_>) {
        let id = socket.id().to_owned();
        if let ("say", Ok((Say { room, text },))) = (event.name(), event.args()) {
            let ok = socket.is_in(&room);
            if ok {
                socket.room(&room).emit("said", json!({ "room": room, "id": id, "text": text }));
            }
            return socket.room(&room).ack(event.ack(), json!({ "ok": ok }));
        }
        let Ok((room,)) = event.args::<(String,)>() else {
            return socket.ack(event.ack(), json!({ "ok": false }));
        };
        let heard = match event.name() {
            "join" if socket.room(&room).join() => Some("joined"),
            "leave" if socket.room(&room).leave() => Some("left"),
            _ => None,
        };
        if let Some(heard) = heard {
            socket.room(&room).emit(heard, json!({ "room": room, "id": id }));
        }
        let ok = heard.is_some() || (event.name() == "join" && socket.is_in(&room));
        socket.room(&room).ack(event.ack(), json!({ "ok": ok }));
    }

    fn disconnecting(&mut self, socket: &mut Socket<'_>) {
        let id = socket.id().to_owned();
        for room in socket.rooms() {
            socket.room(&room).emit("left", json!({ "room": room, "id": id }));
        }
    }
}

fn main() -> ExitCode {
    let Args { listen } = Args::parse();
    let listening = |addr| println!("listening on http://{addr}");
    match serve::<Rooms<Tutorial>>(Options::new(listen), Settings::new(Tutorial), listening) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rooms: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
