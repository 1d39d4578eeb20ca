//! A client's life: it connects when it is due, talks until the connection ends, and comes back.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd as _;
use std::rc::Rc;
use std::time::Duration;

use nix::errno::Errno;
use socket2::{Domain, Protocol as SocketProtocol, Socket, Type};
use tungstenite::handshake::client::generate_key;
use tungstenite::handshake::derive_accept_key;

use crate::alarm::Alarm;
use crate::client::Client;
use crate::clock::{nanos, now_ns};
use crate::context::Context;
use crate::ended::Ended;
use crate::http::Http;
use crate::packets::Opened;
use crate::plan::Seat;
use crate::polling;
use crate::samples::Metric;
use crate::scenario::{Protocol, Transport};
use crate::session::State;
use crate::target::Target;
use crate::tls::Tls;

/// Connects `clients`, as fast as the scenario's rate and concurrency allow.
///
/// # Errors
/// The timer cannot be set.
pub async fn connect_all(context: &Rc<Context>, clients: &[Rc<Client>]) -> anyhow::Result<()> {
    let settings = &context.shared.scenario.connect;
    let alarm = Alarm::new()?;
    let started_ns = now_ns();
    let gap_ns = if settings.rate > 0.0 {
        nanos(context.shared.scenario.threads as f64 / settings.rate)
    } else {
        0
    };
    for (k, client) in clients.iter().enumerate() {
        let due_ns = started_ns + gap_ns * k as u64;
        alarm.until(due_ns).await?;
        start(context, client, (gap_ns > 0).then_some(due_ns)).await;
        if context.is_over() {
            break;
        }
    }
    Ok(())
}

/// Starts one client once a handshake slot is free; without a due time it is due then.
pub async fn start(context: &Rc<Context>, client: &Rc<Client>, due_ns: Option<u64>) {
    if client.is_started.replace(true) {
        return;
    }
    context.slots.take().await;
    let due_ns = due_ns.unwrap_or_else(now_ns);
    monoio::spawn(live(Rc::clone(context), Rc::clone(client), due_ns));
}

/// Connects, talks, and comes back as often as the client is due again.
async fn live(context: Rc<Context>, client: Rc<Client>, mut due_ns: u64) {
    client.take_slot();
    loop {
        client.session.borrow_mut().due_ns = Some(due_ns);
        client.comeback_ns.set(None);
        let ended = match client.unless_given_up(attempt(&context, &client)).await {
            Ok(never) => match never {},
            Err(ended) => ended,
        };
        client.disconnect(&context);
        end(&context, &client, &ended);
        let Some(at_ns) = client.comeback_ns.get() else {
            client.session.borrow_mut().due_ns = None;
            break;
        };
        due_ns = at_ns;
        let wait_ns = at_ns.saturating_sub(now_ns());
        monoio::time::sleep(Duration::from_nanos(wait_ns)).await;
        if context.is_over() {
            break;
        }
        context.local.borrow_mut().stats.counters.reconnects += 1;
    }
}

fn end(context: &Rc<Context>, client: &Rc<Client>, ended: &Ended) {
    let mut local = context.local.borrow_mut();
    let mut session = client.session.borrow_mut();
    let had_joined = session.state == State::Joined;
    let was_asked = session.is_parting;
    if !context.is_over() {
        session.cut_off(&mut context.turn(&mut local));
    }
    if was_asked || context.is_over() {
        return;
    }
    let counters = &mut local.stats.counters;
    if had_joined {
        counters.disconnects += 1;
    } else {
        counters.connect_failures += 1;
    }
    local.stats.error(&ended.kind());
    if context.shared.scenario.connect.reconnect {
        let jitter_ns = u64::from(session.seat.client % 1000) * 1_000_000;
        client.comeback_ns.set(Some(now_ns() + 500_000_000 + jitter_ns));
    } else {
        context.gone.set(context.gone.get() + 1);
    }
}

/// One connection, from its first packet to its end.
async fn attempt(context: &Rc<Context>, client: &Rc<Client>) -> Result<Infallible, Ended> {
    let started_ns = now_ns();
    {
        let mut session = client.session.borrow_mut();
        session.started_ns = started_ns;
        session.on_the_way_ns = Some(started_ns);
    }
    context.local.borrow_mut().stats.first_attempt_ns.get_or_insert(started_ns);
    let seat = client.session.borrow().seat.clone();
    let path = engine_path(context, &seat, "websocket");
    if context.shared.scenario.transport == Transport::Websocket {
        return websocket(context, client, &path).await;
    }
    let target = target(context, &seat);
    let stream = connect(context, &seat).await?;
    count_connect(context, client);
    client.session.borrow_mut().state = State::ExpectOpen;
    client.attach(stream.as_raw_fd());
    let headers = headers(context, &seat, target);
    let mut http = Http::new(stream, tls(context, target)?, headers.clone());
    let poll = engine_path(context, &seat, "polling");
    let body = http.exchange(&poll, None).await?;
    let opened = Opened::parse(context.shared.scenario.protocol, &body)?;
    if context.shared.scenario.transport == Transport::Upgrade {
        let path = format!("{path}&sid={}", opened.sid);
        client.session.borrow_mut().opened_by_polling = Some(Box::new(opened));
        client.attach(-1);
        drop(http);
        return websocket(context, client, &path).await;
    }
    let poll = format!("{poll}&sid={}", opened.sid);
    let poster = connect(context, &seat).await?;
    let poster = Http::new(poster, tls(context, target)?, headers);
    {
        let mut session = client.session.borrow_mut();
        let mut local = context.local.borrow_mut();
        session.is_polling = true;
        session.out.clear();
        session.opened_with(&mut context.turn(&mut local), &opened);
    }
    client.after_read(context);
    polling::talk(context, client, (http, poster), &poll).await
}

/// A WebSocket from the TCP connection to its end.
async fn websocket(
    context: &Rc<Context>,
    client: &Rc<Client>,
    path: &str,
) -> Result<Infallible, Ended> {
    let seat = client.session.borrow().seat.clone();
    let target = target(context, &seat);
    let tls = tls(context, target)?;
    let stream = begin_connect(context, &seat).map_err(unconnected)?;
    client.expect_connection();
    let watched = context.readiness.watch(&stream, u64::from(seat.client));
    watched.map_err(|errno| unconnected(errno.into()))?;
    client.connected().await;
    // An end is also the end of connecting; only a connected socket has a peer.
    stream.peer_addr().map_err(|error| match stream.take_error() {
        Ok(Some(cause)) => unconnected(cause),
        _ => unconnected(error),
    })?;
    if context.shared.scenario.transport == Transport::Websocket {
        count_connect(context, client);
    }
    {
        let mut session = client.session.borrow_mut();
        session.state = State::ExpectUpgrade;
        let key = generate_key();
        session.accept = derive_accept_key(key.as_bytes());
        let request = format!(
            "GET {path} HTTP/1.1\r\n{}Connection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n",
            headers(context, &seat, target)
        );
        session.out.clear();
        session.out.extend_from_slice(request.as_bytes());
    }
    Err(client.talk(context, stream, tls).await)
}

/// The TCP connection of this attempt stands.
fn count_connect(context: &Context, client: &Client) {
    let mut session = client.session.borrow_mut();
    let mut local = context.local.borrow_mut();
    session.asked_ns = now_ns();
    local.stats.counters.connects += 1;
    local.stats.samples.record_ns(Metric::Connect, session.asked_ns - session.started_ns);
}

fn target<'c>(context: &'c Context, seat: &Seat) -> &'c Target {
    let targets = &context.shared.targets;
    &targets[seat.client as usize % targets.len()]
}

/// The client's side of TLS, where the target speaks it.
fn tls(context: &Context, target: &Target) -> Result<Option<Tls>, Ended> {
    let trust = context.shared.trust.as_ref().filter(|_| target.is_tls);
    trust.map(|trust| trust.connect(&target.host)).transpose()
}

/// The lines that begin the head of each of the client's requests.
fn headers(context: &Context, seat: &Seat, target: &Target) -> String {
    let own = context.shared.credentials.headers(seat);
    let has_host =
        own.lines().any(|line| line.get(..5).is_some_and(|s| s.eq_ignore_ascii_case("host:")));
    if has_host { own } else { format!("Host: {}\r\n{own}", target.authority) }
}

/// A TCP connection for HTTP requests.
async fn connect(context: &Context, seat: &Seat) -> Result<monoio::net::TcpStream, Ended> {
    let stream = begin_connect(context, seat).map_err(unconnected)?;
    let stream = monoio::net::TcpStream::from_std(stream).map_err(unconnected)?;
    stream.writable(false).await.map_err(unconnected)?;
    // Writable also means failed; only a connected socket has a peer.
    stream.peer_addr().map_err(unconnected)?;
    Ok(stream)
}

fn unconnected(error: io::Error) -> Ended {
    Ended::Refused(format!("connect: {}", error.kind()))
}

fn engine_path(context: &Context, seat: &Seat, transport: &str) -> String {
    let scenario = &context.shared.scenario;
    let path = scenario.path(target(context, seat));
    let path = match scenario.protocol {
        Protocol::Raw => {
            let room = context.shared.room_numbers[usize::from(seat.rooms[0])];
            path.replace("{room}", &room.to_string())
        }
        Protocol::Eio3 => with_engine(path, 3, transport),
        Protocol::Eio4 => with_engine(path, 4, transport),
        Protocol::Phoenix => with_version(path, "vsn=2.0.0"),
        Protocol::Pusher => with_version(path, "protocol=7&client=throng-loadgen&version=1"),
        Protocol::Centrifugo => path.to_owned(),
    };
    context.shared.credentials.with_query(path, seat)
}

fn with_engine(path: &str, version: u8, transport: &str) -> String {
    with_query(path, &format!("EIO={version}&transport={transport}"))
}

/// Adds the version of a protocol, unless the path names one.
fn with_version(path: &str, version: &str) -> String {
    let key = version.split_inclusive('=').next().unwrap_or_default();
    if path.contains(key) { path.to_owned() } else { with_query(path, version) }
}

fn with_query(path: &str, query: &str) -> String {
    let separator = if path.contains('?') { '&' } else { '?' };
    format!("{path}{separator}{query}")
}

/// A socket that connects, not waited for.
fn begin_connect(context: &Context, seat: &Seat) -> io::Result<TcpStream> {
    let target = target(context, seat).address;
    let sources = &context.shared.scenario.sources;
    let source = (!sources.is_empty()).then(|| sources[seat.client as usize % sources.len()]);
    let socket = Socket::new(
        Domain::for_address(target),
        Type::STREAM.nonblocking().cloexec(),
        Some(SocketProtocol::TCP),
    )?;
    if let Some(source) = source {
        // The port is chosen at connect, so that one port serves many destinations.
        nix::sys::socket::setsockopt(
            &socket,
            nix::sys::socket::sockopt::IpBindAddressNoPort,
            &true,
        )?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&target.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => Err(error),
        _ => Ok(socket.into()),
    }
}
