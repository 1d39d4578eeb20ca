//! The room broadcast of the benches on socketioxide.

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

use axum::serve::ListenerExt as _;
use serde::{Deserialize, Serialize};
use serde_json::json;
use socketioxide::SocketIo;
use socketioxide::extract::{AckSender, Data, SocketRef};

#[derive(Deserialize)]
struct Join {
    roomid: u32,
}

#[derive(Deserialize)]
struct Publish {
    msg: String,
    img: String,
    roomid: u32,
}

#[derive(Serialize)]
struct Message {
    userid: &'static str,
    username: &'static str,
    src: &'static str,
    msg: String,
    img: String,
    roomid: u32,
    time: &'static str,
    id: u64,
    seq: u64,
}

static SEQ: AtomicU64 = AtomicU64::new(0);

async fn on_connect(socket: SocketRef) {
    socket.on("room", async |socket: SocketRef, Data::<Join>(join), ack: AckSender| {
        socket.join(format!("room{}", join.roomid));
        // A client that did not ask for an ack gets none.
        ack.send(&json!({ "ok": true, "room": join.roomid })).ok();
    });
    socket.on("roomout", async |socket: SocketRef, Data::<Join>(leave), ack: AckSender| {
        socket.leave(format!("room{}", leave.roomid));
        ack.send(&json!({ "ok": true })).ok();
    });
    socket.on("message", async |socket: SocketRef, Data::<Publish>(publish), ack: AckSender| {
        let seq = SEQ.fetch_add(1, Ordering::Relaxed) + 1;
        let message = Message {
            userid: "u1",
            username: "user",
            src: "/avatars/1.svg",
            msg: publish.msg,
            img: publish.img,
            roomid: publish.roomid,
            time: "2026-01-01T00:00:00.000Z",
            id: seq,
            seq,
        };
        let room = format!("room{}", publish.roomid);
        // A slow member's full buffer is the member's loss; the generator counts it.
        socket.within(room).emit("message", &message).await.ok();
        ack.send(&json!({ "ok": true, "id": seq, "seq": seq })).ok();
    });
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(0u16);
    // The default of 128 packets drops messages in the coalescing cells.
    let (layer, io) = SocketIo::builder().max_buffer_size(65_536).build_layer();
    io.ns("/", on_connect);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("socketioxide listening on http://{}", listener.local_addr()?);
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            eprintln!("nodelay: {error}");
        }
    });
    axum::serve(listener, axum::Router::new().layer(layer)).await
}
