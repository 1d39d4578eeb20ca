//! Rooms as the Socket.IO tutorial shows them: join, leave, disconnect, broadcast, ack.
//!
//! `cargo run --example rooms -- --listen 127.0.0.1:0` serves stock clients:
//! ```js
//! socket.emit("join", "lobby", ({ ok }) => {});   // members receive joined { room, id }
//! socket.emit("say", { room: "lobby", text: "hello" }, ({ ok }) => {});   // said { room, id, text }
//! socket.emit("leave", "lobby", ({ ok }) => {});  // left { room, id }, as when a client disconnects
//! ```

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
    /// Threads that serve sessions; one per core by default.
    #[arg(long)]
    shards: Option<u8>,
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
        let (id, ok) = (socket.id(), |ok: bool| json!({ "ok": ok }));
        if let ("say", Ok((Say { room, text },))) = (event.name(), event.args()) {
            // Rooms without state refuse nobody: a client that has asked to join is in.
            let is_in = socket.is_in(&room);
            if is_in {
                socket.room(&room).emit("said", json!({ "room": room, "id": id, "text": text }));
            }
            return socket.room(&room).ack(event.ack(), ok(is_in));
        }
        let Ok((name,)) = event.args::<(String,)>() else {
            return socket.ack(event.ack(), ok(false));
        };
        let (mut room, change) = (socket.room(&name), json!({ "room": name, "id": id }));
        match event.name() {
            "join" if room.join().is_ok() => room.emit("joined", change),
            "join" => {}
            "leave" if room.leave() => room.emit("left", change),
            _ => return room.ack(event.ack(), ok(false)),
        }
        room.ack_is_in(event.ack(), |is_in| ok(is_in == (event.name() == "join")));
    }

    fn disconnecting(&mut self, socket: &mut Socket<'_>) {
        let id = socket.id();
        for room in socket.rooms() {
            socket.room(&room).emit("left", json!({ "room": room, "id": id }));
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let mut options = Options::new(args.listen);
    options.shards = args.shards.unwrap_or(options.shards);
    let listening = |addr| println!("listening on http://{addr}");
    let Err(error) = serve::<Rooms<Tutorial>>(options, Settings::new(Tutorial), listening) else {
        return ExitCode::SUCCESS;
    };
    eprintln!("rooms: {error}");
    ExitCode::from(error.exit_code())
}
