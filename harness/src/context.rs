//! What a running case has in hand.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::case::{Combo, Need, Outcome, Stop, fail};
use crate::client::Trouble;
use crate::client::chat::Chat;
use crate::client::http::{Connection, Request, Response, fetch};
use crate::client::rest::{Rest, User};
use crate::client::socket::{Open, Options, Socket, Transport};
use crate::client::target::Target;
use crate::client::transcript::{Log, Transcript};
use crate::client::websocket::RawSocket;
use crate::codec::engine::{Packet, Protocol};
use crate::codec::payload::{self, Body};
use crate::probe::Capabilities;

/// How long a case waits before it takes silence for an answer.
pub const QUIET: Duration = Duration::from_millis(200);

/// Kills a node (`down`) or starts it (`up`), and returns when that is done.
pub type NodeSwitch = Box<dyn Fn(&str, usize) -> Result<(), String> + Send + Sync>;

/// The switch that is a command line of somebody else's: see `--node-command`.
pub fn by_command(command: String) -> NodeSwitch {
    Box::new(move |what, node| {
        let line = format!("{command} {what} {node}");
        let output = std::process::Command::new("sh").args(["-c", &line]).output();
        match output {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => {
                let told = String::from_utf8_lossy(&output.stderr);
                Err(format!("`{line}` ended with {}: {told}", output.status))
            }
            Err(why) => Err(format!("`{line}`: {why}")),
        }
    })
}

/// What all cases of a run share.
pub struct Run {
    /// The nodes of the target, at least one.
    pub nodes: Vec<Target>,
    pub capabilities: Capabilities,
    pub seed: u64,
    /// Budget of each property: how many scripts.
    pub cases: u32,
    pub wait: Duration,
    pub slow: bool,
    /// Without one, nothing may be killed.
    pub node_switch: Option<NodeSwitch>,
    /// How long the death of a node may stay unnoticed.
    pub lease: Duration,
    /// Directory for shrunk scripts; none is written without.
    pub scripts: Option<std::path::PathBuf>,
    /// Makes names of this run differ from those of earlier runs against the same server.
    nonce: u64,
    users: AtomicU64,
    rooms: AtomicU64,
    contexts: AtomicUsize,
}

impl Run {
    pub fn new(nodes: Vec<Target>, capabilities: Capabilities, seed: u64) -> Run {
        let since = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Run {
            nodes,
            capabilities,
            seed,
            cases: 12,
            wait: Duration::from_secs(5),
            slow: false,
            node_switch: None,
            lease: Duration::from_secs(12),
            scripts: None,
            nonce: since.as_micros() as u64 % 1_000_000_000_000,
            users: AtomicU64::new(0),
            // Anywhere in the range of room ids, far from the default rooms.
            rooms: AtomicU64::new(1_000_000 + since.as_millis() as u64 % 997_000_000),
            contexts: AtomicUsize::new(0),
        }
    }

    /// Why a case with these needs cannot run, if it cannot.
    pub fn lacks(&self, needs: &[Need]) -> Option<&'static str> {
        if needs.contains(&Need::Nodes) && self.nodes.len() < 2 {
            return Some("the target is one node; give several to --target");
        }
        if needs.contains(&Need::NodeCommand) && self.node_switch.is_none() {
            return Some("nothing may be killed without --node-command");
        }
        self.capabilities.lacks(needs)
    }

    pub fn fresh_email(&self) -> String {
        let number = self.users.fetch_add(1, Ordering::Relaxed);
        format!("u{}x{number}@example.com", self.nonce)
    }

    pub fn fresh_room(&self) -> u64 {
        self.rooms.fetch_add(1, Ordering::Relaxed)
    }
}

/// A session on polling that the case drives by hand.
pub struct Poller {
    pub sid: String,
    pub open: Open,
    /// What came with the open packet.
    pub first: Vec<Packet>,
    pub protocol: Protocol,
    pub rest: Rest,
}

pub struct Context {
    pub run: Arc<Run>,
    pub combo: Combo,
    pub transcript: Transcript,
    pub log: Log,
    /// The node that the case speaks to, unless it is about several.
    node: usize,
    steps: Arc<Mutex<Vec<String>>>,
}

impl Context {
    pub fn new(run: Arc<Run>, combo: Combo) -> Context {
        let transcript = Transcript::default();
        let log = transcript.log("client");
        let node = run.contexts.fetch_add(1, Ordering::Relaxed) % run.nodes.len();
        Context { run, combo, transcript, log, node, steps: Arc::default() }
    }

    pub fn steps(&self) -> Arc<Mutex<Vec<String>>> {
        self.steps.clone()
    }

    /// Notes what is done next, for the report.
    pub fn step(&self, text: impl Into<String>) {
        let text = text.into();
        self.log.note(&text);
        if let Ok(mut steps) = self.steps.lock() {
            steps.push(text);
        }
    }

    pub fn target(&self) -> &Target {
        &self.run.nodes[self.node]
    }

    pub fn nodes(&self) -> usize {
        self.run.nodes.len()
    }

    /// Has a node killed (`down`) or started (`up`), and waits till it is done.
    pub fn command_node(&self, what: &str, node: usize) -> Outcome {
        let Some(switch) = &self.run.node_switch else {
            return Err(Stop::Error("there is no --node-command".to_owned()));
        };
        self.log.note(format!("{what} {node}"));
        switch(what, node).map_err(Stop::Error)
    }

    pub fn capabilities(&self) -> &Capabilities {
        &self.run.capabilities
    }

    pub fn wait(&self) -> Duration {
        self.run.wait
    }

    pub fn eio(&self) -> u8 {
        self.combo.protocol.number()
    }

    /// Path of the engine with a query in front of which nothing else stands.
    pub fn path(&self, query: &str) -> String {
        format!("{}?{query}", self.target().engine_path)
    }

    /// Path of a handshake over the case's protocol and transport.
    pub fn handshake_path(&self) -> String {
        let transport = self.combo.transport.name();
        self.path(&format!("EIO={}&transport={transport}", self.eio()))
    }

    pub fn fetch(&self, request: &Request<'_>) -> Result<Response, Trouble> {
        fetch(self.target(), &self.log, request, Duration::from_secs(15))
    }

    pub fn get(&self, path: &str) -> Result<Response, Trouble> {
        self.fetch(&Request::get(path))
    }

    pub fn connection(&self) -> Result<Connection, Trouble> {
        Connection::open(self.target(), &self.log)
    }

    pub fn websocket(&self, path: &str) -> Result<RawSocket, Trouble> {
        RawSocket::open(self.target(), path, &self.log)
    }

    /// A bare WebSocket session of the case's protocol, its open packet read.
    pub fn bare_websocket(&self) -> Result<(RawSocket, Open), Trouble> {
        let path = self.path(&format!("EIO={}&transport=websocket", self.eio()));
        let mut socket = self.websocket(&path)?;
        let text = socket.receive_text(self.wait())?;
        let json = text
            .strip_prefix('0')
            .ok_or_else(|| Trouble::Protocol(format!("the first frame is {text:?}")))?;
        let open = Open::parse(json)?;
        if self.combo.protocol == Protocol::Eio3 {
            let connect = socket.receive_text(self.wait())?;
            if connect != "40" {
                return Err(Trouble::Protocol(format!("the second frame is {connect:?}, not 40")));
            }
        }
        Ok((socket, open))
    }

    /// The same, with the Socket.IO connection made; heartbeats are the case's business.
    pub fn connected_websocket(&self) -> Result<(RawSocket, Open), Trouble> {
        let (mut socket, open) = self.bare_websocket()?;
        if self.combo.protocol == Protocol::Eio4 {
            socket.send("40")?;
            self.text_until(&mut socket, |text| text.starts_with("40"))?;
        }
        Ok((socket, open))
    }

    /// Reads on, answering pings, until a text frame is wanted.
    pub fn text_until(
        &self,
        socket: &mut RawSocket,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<String, Trouble> {
        let deadline = Instant::now() + self.wait();
        loop {
            let text = socket.receive_text(deadline.saturating_duration_since(Instant::now()))?;
            if wanted(&text) {
                return Ok(text);
            }
            if text == "2" && self.combo.protocol == Protocol::Eio4 {
                socket.send("3")?;
            }
        }
    }

    pub fn poller(&self) -> Result<Poller, Trouble> {
        self.poller_with("")
    }

    pub fn poller_with(&self, more: &str) -> Result<Poller, Trouble> {
        let protocol = self.combo.protocol;
        let path = self.path(&format!("EIO={}&transport=polling{more}", self.eio()));
        let response = self.get(&path)?;
        if response.status != 200 {
            return Err(Trouble::Refused(response));
        }
        let packets = payload::decode_body_text(protocol, &response.text())
            .map_err(|why| Trouble::Protocol(why.to_string()))?;
        let mut packets = packets.into_iter();
        let open = match packets.next() {
            Some(packet) => match payload::encode_text(Protocol::Eio4, &[packet]).strip_prefix('0')
            {
                Some(json) => Open::parse(json)?,
                None => return Err(Trouble::Protocol("the first packet is no open packet".into())),
            },
            None => return Err(Trouble::Protocol("an empty first payload".into())),
        };
        let rest = Rest { target: self.target().clone(), log: self.log.clone() };
        Ok(Poller { sid: open.sid.clone(), open, first: packets.collect(), protocol, rest })
    }

    /// A session over the case's protocol and transport, without identity.
    pub fn socket(&self) -> Result<Socket, Trouble> {
        Socket::connect(self.target(), self.options(), &self.log)
    }

    pub fn options(&self) -> Options {
        Options::new(self.combo.protocol, self.combo.transport)
    }

    pub fn rest(&self) -> Rest {
        self.rest_at(self.node)
    }

    /// The HTTP API of one node.
    pub fn rest_at(&self, node: usize) -> Rest {
        let label = if self.run.nodes.len() > 1 { format!("rest@{node}") } else { "rest".into() };
        Rest { target: self.run.nodes[node].clone(), log: self.transcript.log(&label) }
    }

    pub fn user(&self) -> Result<User, Stop> {
        let email = self.run.fresh_email();
        self.rest().register(&email).map_err(|why| Stop::Error(format!("cannot register: {why}")))
    }

    /// A session of the user, named `label` in the transcript.
    pub fn chat(&self, user: &User, label: &str) -> Result<Chat, Trouble> {
        self.chat_over(user, label, self.options())
    }

    pub fn chat_over(&self, user: &User, label: &str, options: Options) -> Result<Chat, Trouble> {
        self.chat_at(self.node, user, label, options)
    }

    /// A session of the user on one node.
    pub fn chat_at(
        &self,
        node: usize,
        user: &User,
        label: &str,
        options: Options,
    ) -> Result<Chat, Trouble> {
        let log = self.transcript.log(label);
        Chat::connect(&self.run.nodes[node], options, user, &log, self.wait())
    }

    /// A new user with one session.
    pub fn guest(&self, label: &str) -> Result<Chat, Stop> {
        let user = self.user()?;
        Ok(self.chat(&user, label)?)
    }

    /// The observer's session: always over a WebSocket if there is one, so that the case's combo
    /// is that of the session under test.
    pub fn observer(&self, label: &str) -> Result<Chat, Stop> {
        let user = self.user()?;
        let transport = if self
            .capabilities()
            .speaks(Combo { transport: Transport::Websocket, ..self.combo })
        {
            Transport::Websocket
        } else {
            self.combo.transport
        };
        let options = Options::new(self.combo.protocol, transport);
        Ok(self.chat_over(&user, label, options)?)
    }

    /// A room nobody else uses.
    pub fn room(&self) -> Result<u64, Stop> {
        if self.capabilities().rooms_on_demand {
            Ok(self.run.fresh_room())
        } else {
            Err(Stop::Skip(
                "the target creates no rooms on demand, so a case cannot have one of its own"
                    .to_owned(),
            ))
        }
    }

    /// Skips what would take longer than a run should.
    pub fn affordable(&self, time: Duration) -> Outcome {
        if time <= Duration::from_secs(10) || self.run.slow {
            return Ok(());
        }
        Err(Stop::Skip(format!(
            "this takes {:.0} s with the target's settings; run with --slow",
            time.as_secs_f64()
        )))
    }

    pub fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }

    /// Polls `found` until it yields, for what no event announces.
    pub fn eventually<T>(
        &self,
        what: &str,
        mut found: impl FnMut() -> Result<Option<T>, Stop>,
    ) -> Result<T, Stop> {
        let deadline = Instant::now() + self.wait();
        loop {
            if let Some(value) = found()? {
                return Ok(value);
            }
            if Instant::now() >= deadline {
                return fail(what, format!("not within {:?}", self.wait()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Poller {
    pub fn path(&self) -> String {
        format!(
            "{}?EIO={}&transport=polling&sid={}",
            self.rest.target.engine_path,
            self.protocol.number(),
            self.sid
        )
    }

    pub fn websocket_path(&self) -> String {
        self.path().replace("transport=polling", "transport=websocket")
    }

    pub fn get(&self) -> Result<Response, Trouble> {
        self.rest.get(&self.path())
    }

    pub fn post(&self, body: &str) -> Result<Response, Trouble> {
        self.rest.call(&Request::post(&self.path(), body.as_bytes()))
    }

    /// POSTs packets in the protocol's own form.
    pub fn post_packets(&self, packets: &[Packet]) -> Result<Response, Trouble> {
        self.post(&payload::encode_text(self.protocol, packets))
    }

    pub fn post_message(&self, text: &str) -> Result<Response, Trouble> {
        self.post_packets(&[Packet::message(text)])
    }

    /// One poll, decoded.
    pub fn poll(&self) -> Result<Vec<Packet>, Trouble> {
        let response = self.get()?;
        if response.status != 200 {
            return Err(Trouble::Refused(response));
        }
        self.decode(&response)
    }

    pub fn decode(&self, response: &Response) -> Result<Vec<Packet>, Trouble> {
        let body = if response.has_type("application/octet-stream") {
            Body::Octets(response.body.clone())
        } else {
            Body::Text(response.text())
        };
        payload::decode(self.protocol, &body).map_err(|why| Trouble::Protocol(why.to_string()))
    }

    /// Socket.IO CONNECT where the protocol needs one.
    pub fn connect(&self) -> Result<(), Trouble> {
        if self.protocol == Protocol::Eio3 {
            return Ok(());
        }
        self.post_message("0")?;
        let packets = self.poll()?;
        let connected = packets.iter().any(|packet| is_message(packet, "0{"));
        if connected {
            Ok(())
        } else {
            Err(Trouble::Protocol(format!("CONNECT was answered with {packets:?}")))
        }
    }
}

/// Whether the packet is a message whose text begins like this.
pub fn is_message(packet: &Packet, prefix: &str) -> bool {
    use crate::codec::engine::{Data, Kind};
    packet.kind == Kind::Message
        && matches!(&packet.data, Data::Text(text) if text.starts_with(prefix))
}
