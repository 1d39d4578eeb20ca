//! Runs the floor server; see `throng_benches::floor`.

#![forbid(unsafe_code)]

use std::net::{SocketAddr, TcpListener};

use clap::Parser;
use throng_benches::floor::{self, Sending};

#[derive(Parser)]
struct Flags {
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    #[arg(long, value_enum, default_value_t)]
    sending: Sending,
}

fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    let listener = TcpListener::bind(flags.listen)?;
    println!("floor listening on http://{}", listener.local_addr()?);
    floor::serve(&listener, flags.sending)
}
