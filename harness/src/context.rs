//! What a running case works with.

mod received;
mod rooms;
mod users;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use throng_codec::engine::Protocol;

use crate::capabilities::{Capabilities, Need};
use crate::client::ClientError;
use crate::client::chat::Chat;
use crate::client::http::{Connection, Request, Response, fetch};
use crate::client::member::{Member, Record};
use crate::client::open::Open;
use crate::client::options::{Options, Transport};
use crate::client::poller::Poller;
use crate::client::rest::{Rest, User};
use crate::client::shared::Shared;
use crate::client::socket::{Kept, Socket};
use crate::client::target::Target;
use crate::client::transcript::{Log, Transcript};
use crate::client::websocket::RawSocket;
use crate::combo::Combo;
use crate::outcome::{Outcome, Stop, fail};
use crate::profile::is_judged;
use crate::run::Run;

/// How long nothing must arrive before a case concludes that nothing will.
pub const QUIET: Duration = Duration::from_millis(200);

pub struct Context {
    pub run: Arc<Run>,
    pub combo: Combo,
    pub transcript: Transcript,
    pub log: Log,
    /// The node that the case uses, unless it is about several.
    node: usize,
    steps: Arc<Mutex<Vec<String>>>,
    /// The users of the case are new.
    needs_new_users: bool,
    /// The case is about changes of avatars.
    changes_avatars: bool,
    /// The case has killed or started a node.
    has_commanded: AtomicBool,
    /// The sessions of users that the case has opened, with their names in the transcript.
    sessions: Mutex<Vec<(String, User, Arc<Shared>)>>,
    /// Sessions of nobody in particular.
    sockets: Mutex<Vec<Arc<Shared>>>,
    /// Sessions at a room server of others, with their names in the transcript.
    members: Mutex<Vec<(String, Arc<Record>)>>,
    /// The sessions that are still open when the body of the case has ended.
    kept: Arc<Kept>,
    /// What goes back when the case is over.
    borrowed: Mutex<Borrowed>,
}

#[derive(Default)]
struct Borrowed {
    users: Vec<User>,
    /// How many of the rooms of the pool are in use; `None` if they were not borrowed.
    rooms: Option<usize>,
    /// The last seqs of the rooms of the pool, as they were then.
    bases: BTreeMap<u64, u64>,
}

impl Drop for Context {
    fn drop(&mut self) {
        self.end_sessions();
        let Ok(borrowed) = self.borrowed.get_mut() else { return };
        if borrowed.rooms.take().is_some() {
            // The sessions of the case have ended just now.
            std::thread::sleep(QUIET);
            self.run.room_pool.give_back();
        }
        for user in std::mem::take(&mut borrowed.users) {
            // One that has logged out, or looks different now, is not what another case expects.
            let answer = self.rest().get_as("/api/user", &user.token);
            let is_same = |answer: &Response| answer.json()["avatar"] == user.avatar.as_str();
            if answer.is_ok_and(|answer| is_same(&answer)) {
                self.run.user_pool.give_back(user);
            }
        }
    }
}

impl Context {
    /// For a case with these needs and clauses.
    pub fn of_case(run: Arc<Run>, combo: Combo, needs: &[Need], clauses: &[&str]) -> Context {
        let mut context = Context::new(run, combo);
        context.needs_new_users = needs.contains(&Need::NewUsers);
        context.changes_avatars = clauses.contains(&"REST-58");
        context
    }

    pub fn new(run: Arc<Run>, combo: Combo) -> Context {
        let transcript = Transcript::default();
        let log = transcript.log("client");
        let node = run.next_node();
        Context {
            run,
            combo,
            transcript,
            log,
            node,
            steps: Arc::default(),
            needs_new_users: false,
            changes_avatars: false,
            has_commanded: AtomicBool::new(false),
            sessions: Mutex::default(),
            sockets: Mutex::default(),
            members: Mutex::default(),
            kept: Arc::default(),
            borrowed: Mutex::default(),
        }
    }

    /// Ends the sessions whose handles have been dropped.
    pub fn end_sessions(&self) {
        self.kept.close();
    }

    /// How long the sessions of the case are watched when its body has ended: not where other cases wait for its rooms
    /// or its users.
    pub fn watch_time(&self) -> Duration {
        let is_waited_for = self.borrowed().rooms.is_some() || self.run.limits_users();
        if is_waited_for { Duration::ZERO } else { self.run.watch }
    }

    pub fn steps(&self) -> Arc<Mutex<Vec<String>>> {
        self.steps.clone()
    }

    /// Records the next step, for the report.
    pub fn step(&self, text: impl Into<String>) {
        let text = text.into();
        self.log.note(&text);
        if let Ok(mut steps) = self.steps.lock() {
            steps.push(text);
        }
    }

    /// Whether the run judges this clause: one of upstream's profile does not judge Throng's own.
    pub fn judges(&self, clause: &str) -> bool {
        is_judged(clause, self.run.profile)
    }

    pub fn target(&self) -> &Target {
        &self.run.nodes[self.node]
    }

    pub fn nodes(&self) -> usize {
        self.run.nodes.len()
    }

    /// Kills (`down`) or starts (`up`) a node, and waits until that is done.
    pub fn command_node(&self, what: &str, node: usize) -> Outcome {
        let Some(switch) = &self.run.node_switch else {
            return Err(Stop::Error("--node-command was not given".to_owned()));
        };
        self.log.note(format!("{what} {node}"));
        self.has_commanded.store(true, Ordering::Relaxed);
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

    /// The Engine.IO path with this query.
    pub fn path(&self, query: &str) -> String {
        format!("{}?{query}", self.target().engine_path)
    }

    /// Path of a handshake over the case's protocol and transport.
    pub fn handshake_path(&self) -> String {
        let transport = self.combo.transport.name();
        self.path(&format!("EIO={}&transport={transport}", self.eio()))
    }

    pub fn fetch(&self, request: &Request<'_>) -> Result<Response, ClientError> {
        // A request of a session may be a poll, which is held until the next heartbeat.
        let held = request.path.contains("sid=");
        let held = if held { self.capabilities().ping_interval() } else { Duration::ZERO };
        fetch(self.target(), &self.log, request, self.target().answer_wait + held)
    }

    pub fn get(&self, path: &str) -> Result<Response, ClientError> {
        self.fetch(&Request::get(path))
    }

    pub fn connection(&self) -> Result<Connection, ClientError> {
        Connection::open(self.target(), &self.log)
    }

    pub fn websocket(&self, path: &str) -> Result<RawSocket, ClientError> {
        RawSocket::open(self.target(), path, &self.log)
    }

    /// A bare WebSocket session of the case's protocol, its open packet read.
    pub fn bare_websocket(&self) -> Result<(RawSocket, Open), ClientError> {
        self.bare_websocket_with("")
    }

    fn bare_websocket_with(&self, more: &str) -> Result<(RawSocket, Open), ClientError> {
        let (credentials, bearer) = self.raw_credentials()?;
        let path = self.path(&format!("EIO={}&transport=websocket{more}{credentials}", self.eio()));
        let headers: Vec<(&str, &str)> =
            bearer.iter().map(|value| ("Authorization", value.as_str())).collect();
        let mut socket = RawSocket::open_with(self.target(), &path, &headers, &self.log)?;
        let text = socket.receive_text(self.wait())?;
        let json = text
            .strip_prefix('0')
            .ok_or_else(|| ClientError::Protocol(format!("the first frame is {text:?}")))?;
        let open = Open::parse(json)?;
        if self.combo.protocol == Protocol::Eio3 {
            let connect = socket.receive_text(self.wait())?;
            if connect != "40" {
                return Err(ClientError::Protocol(format!(
                    "the second frame is {connect:?}, not 40"
                )));
            }
        }
        Ok((socket, open))
    }

    /// The same, with the Socket.IO connection made; the case has to answer heartbeats.
    pub fn connected_websocket(&self) -> Result<(RawSocket, Open), ClientError> {
        self.connected_websocket_with("")
    }

    /// The same, of a user, where the target has users.
    pub fn known_websocket(&self) -> Result<(RawSocket, Open), Stop> {
        Ok(self.connected_websocket_with(&self.token_query()?)?)
    }

    fn connected_websocket_with(&self, more: &str) -> Result<(RawSocket, Open), ClientError> {
        let (mut socket, open) = self.bare_websocket_with(more)?;
        if self.combo.protocol == Protocol::Eio4 {
            socket.send(&format!("4{}", self.connect_text()?))?;
            self.text_until(&mut socket, |text| text.starts_with("40"))?;
        }
        Ok((socket, open))
    }

    /// Reads text frames, answering pings, until `wanted` accepts one.
    pub fn text_until(
        &self,
        socket: &mut RawSocket,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<String, ClientError> {
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

    /// The open packet of a new session over the case's protocol and transport.
    pub fn open(&self) -> Result<Open, ClientError> {
        match self.combo.transport {
            Transport::Polling => Ok(self.poller()?.open.clone()),
            Transport::Websocket => Ok(self.bare_websocket()?.1),
        }
    }

    pub fn poller(&self) -> Result<Poller, ClientError> {
        self.poller_with("")
    }

    pub fn poller_with(&self, more: &str) -> Result<Poller, ClientError> {
        let (credentials, bearer) = self.raw_credentials()?;
        let path = self.path(&format!("EIO={}&transport=polling{more}{credentials}", self.eio()));
        let rest = Rest { target: self.target().clone(), log: self.log.clone() };
        let mut poller = Poller::open(rest, self.combo.protocol, &path, bearer.as_deref())?;
        poller.may_send_last = !self.judges("EIO-93");
        poller.auth = self.raw_auth()?;
        Ok(poller)
    }

    /// A polling session of the user.
    pub fn poller_of(&self, user: &User) -> Result<Poller, ClientError> {
        self.poller_with(&format!("&api_token={}", user.token))
    }

    /// A session over the case's protocol and transport, without identity.
    pub fn socket(&self) -> Result<Socket, ClientError> {
        self.socket_with(self.options())
    }

    /// The same, of a user, where the target has users.
    pub fn known_socket(&self) -> Result<Socket, Stop> {
        Ok(self.socket_with(Options { token: self.new_token()?, ..self.options() })?)
    }

    pub fn socket_with(&self, options: Options) -> Result<Socket, ClientError> {
        let options = self.with_credentials(options)?;
        let mut socket = Socket::connect(self.target(), options, &self.log)?;
        socket.keep(&self.kept);
        let mut sockets = self.sockets.lock().expect("no thread panics while it adds a session");
        sockets.push(socket.shared());
        Ok(socket)
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

    fn borrowed(&self) -> MutexGuard<'_, Borrowed> {
        self.borrowed.lock().expect("no thread panics while it borrows")
    }

    /// A session of the user, named `label` in the transcript.
    pub fn chat(&self, user: &User, label: &str) -> Result<Chat, ClientError> {
        self.chat_over(user, label, self.options())
    }

    pub fn chat_over(
        &self,
        user: &User,
        label: &str,
        options: Options,
    ) -> Result<Chat, ClientError> {
        self.chat_at(self.node, user, label, options)
    }

    /// A session of the user on one node.
    pub fn chat_at(
        &self,
        node: usize,
        user: &User,
        label: &str,
        options: Options,
    ) -> Result<Chat, ClientError> {
        let log = self.transcript.log(label);
        let mut chat = Chat::connect(&self.run.nodes[node], options, user, &log, self.wait())?;
        chat.socket.keep(&self.kept);
        let mut sessions = self.sessions.lock().expect("no thread panics while it adds a session");
        sessions.push((label.to_owned(), user.clone(), chat.socket.shared()));
        Ok(chat)
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

    /// A session at a room server of others, over the case's protocol and transport.
    pub fn member(&self, label: &str) -> Result<Member, Stop> {
        self.member_over(label, self.combo)
    }

    /// A session that watches what the one under test does: over a WebSocket if there is one.
    pub fn watcher(&self, label: &str) -> Result<Member, Stop> {
        self.member_over(label, self.capabilities().preferred().unwrap_or(self.combo))
    }

    pub fn member_over(&self, label: &str, combo: Combo) -> Result<Member, Stop> {
        let Some(events) = &self.run.events else {
            return Err(Stop::Error("--events was not given".to_owned()));
        };
        let options = self.with_credentials(Options::new(combo.protocol, combo.transport))?;
        let log = self.transcript.log(label);
        let mut socket = Socket::connect(self.target(), options, &log)?;
        socket.keep(&self.kept);
        let texts = self.run.texts.clone();
        let member = Member::new(socket, events.clone(), texts, self.wait());
        let mut members = self.members.lock().expect("no thread panics while it adds a session");
        members.push((label.to_owned(), member.record()));
        Ok(member)
    }

    /// A text that no other case uses.
    pub fn fresh_text(&self) -> String {
        format!("text {}", self.run.fresh_room())
    }

    /// Skips a case that would take longer than 10 s, unless `--slow` was given.
    pub fn affordable(&self, time: Duration) -> Outcome {
        if time <= Duration::from_secs(10) || self.run.slow {
            return Ok(());
        }
        Err(Stop::Skip(format!(
            "takes {:.0} s with the target's settings; run with --slow",
            time.as_secs_f64()
        )))
    }

    pub fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }

    /// Asks until `holds` says yes, for changes that no event announces.
    pub fn eventually(&self, what: &str, mut holds: impl FnMut() -> Result<bool, Stop>) -> Outcome {
        let deadline = Instant::now() + self.wait();
        while !holds()? {
            if Instant::now() >= deadline {
                return fail(what, format!("not within {:?}", self.wait()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}
