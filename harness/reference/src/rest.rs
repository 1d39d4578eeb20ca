//! The HTTP API.

use std::io::{self, BufReader};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::chat::LOGIN_TEXT;
use crate::defect::Defect;
use crate::files::{self, Folder};
use crate::handshake::cookie;
use crate::http::{Request, Response, parse_form, parse_multipart, read_body, read_in_time};
use crate::messages::now_iso;
use crate::options::EventRate;
use crate::rate::Allowance;
use crate::shared::{Shared, lock};
use crate::world::{Session, User, World, random_token};

const BODY_BYTES_MAX: usize = 8 << 20;
const PAGE: u64 = 20;
/// How many times the requests of a stranger a user may make.
const USER_REQUESTS: u32 = 10;
const TOKEN_LENGTH: usize = 60;

/// Who may call a route, and what answers: the user is known where a token is needed.
#[derive(Clone, Copy)]
enum Handler {
    Anyone(fn(&mut World, &Call) -> Response),
    User(fn(&mut World, &Call, u64) -> Response),
}

const ROUTES: &[(&str, &str, Handler)] = &[
    ("POST", "/api/register", Handler::Anyone(World::register)),
    ("POST", "/api/login", Handler::Anyone(World::log_in)),
    ("POST", "/api/logout", Handler::User(World::log_out)),
    ("GET", "/api/user", Handler::User(World::account)),
    ("GET", "/api/rooms", Handler::User(World::room_list)),
    ("GET", "/api/history/message", Handler::User(World::history)),
    ("POST", "/api/file/uploadimg", Handler::User(World::message_image)),
    ("POST", "/api/file/avatar", Handler::User(World::avatar)),
    ("GET", "/api/robot", Handler::User(World::robot)),
];

/// A request with its body read: fields by name, and uploaded files.
struct Call {
    fields: Map<String, Value>,
    file: Option<Vec<u8>>,
    /// The token of the request, valid or not.
    token: Option<String>,
    by_cookie: bool,
    /// The node that received the request.
    node: usize,
}

pub fn answer(
    world: &Shared,
    request: &Request,
    reader: &mut BufReader<TcpStream>,
) -> io::Result<Response> {
    if lock(world).has(Defect::AllowsAnyReader) && request.header("origin").is_some() {
        return answer_plainly(world, request, reader).map(|answer| {
            answer
                .with("Access-Control-Allow-Origin", "*")
                .with("Access-Control-Allow-Credentials", "true")
        });
    }
    answer_plainly(world, request, reader)
}

fn answer_plainly(
    world: &Shared,
    request: &Request,
    reader: &mut BufReader<TcpStream>,
) -> io::Result<Response> {
    let node = world.node;
    let is_upload = request.method == "POST" && request.path.starts_with("/api/file/");
    if is_upload && !lock(world).has(Defect::UploadBeforeAsked) {
        let call = Call::read(request, b"", node);
        let is_shown = request.param("api_token").is_some_and(is_token_shown);
        if is_shown && lock(world).authenticated(&call).is_none() {
            return Ok(early(401, "Unauthenticated."));
        }
    }
    if request.body_length > BODY_BYTES_MAX {
        return Ok(early(413, "Payload Too Large"));
    }
    let Some(body) = receive(world, request, reader, is_upload)? else {
        return Ok(early(408, "Request Timeout"));
    };
    let mut world = lock(world);
    if !request.path.starts_with("/api/") && request.path != "/api" {
        return Ok(world.file(request));
    }
    if world.has(Defect::FormRefused)
        && request.method == "POST"
        && request.is_type("application/json")
        && serde_json::from_slice::<Map<String, Value>>(&body).is_err()
    {
        return Err(io::ErrorKind::InvalidData.into());
    }
    if request.path == "/api/robot" && world.has(Defect::RobotClosed) {
        return Ok(Response::json(500, &json!({ "message": "Server Error" })));
    }
    let is_gone = request.path == "/api/register" && world.has(Defect::RegistrationGone);
    let Some((method, _, handler)) =
        ROUTES.iter().find(|(_, path, _)| *path == request.path && !is_gone)
    else {
        if world.has(Defect::FilesAnywhere) {
            return Ok(Response::new(200, "text/html; charset=UTF-8", "<!doctype html>"));
        }
        return Ok(Response::json(404, &json!({ "message": "Not Found" })));
    };
    if *method != request.method {
        let refusal = Response::json(405, &json!({ "message": "Method Not Allowed" }));
        return Ok(refusal.with("Allow", *method));
    }
    let is_login = matches!(request.path.as_str(), "/api/register" | "/api/login");
    if is_login && !world.has(Defect::LoginFromAnywhere) {
        if !request.is_from(request.header("host")) {
            return Ok(Response::json(403, &json!({ "message": "Forbidden" })));
        }
        if !request.is_type("application/json") {
            return Ok(Response::json(415, &json!({ "message": "Unsupported Media Type" })));
        }
    }
    let mut call = Call::read(request, &body, node);
    let cookie = cookie(request, "throng_session");
    let shown = request.header("authorization").and_then(|v| v.strip_prefix("Bearer "));
    let is_number = call.fields.get("api_token").is_some_and(Value::is_number);
    if call.token.is_none()
        && (world.has(Defect::CookiePosts) || world.has(Defect::CookieOfAnyOrigin))
    {
        call.token = cookie.filter(|_| request.param("api_token").is_none());
    } else if world.has(Defect::QueryTokenLast) && shown.is_some() {
        call.token = shown.map(str::to_owned);
    } else if is_number && world.has(Defect::NumberTokenCounts) {
        call.token =
            world.tokens.iter().min_by_key(|(_, user)| **user).map(|(token, _)| token.clone());
    }
    if let Some(Value::String(text)) = call.fields.get_mut("password")
        && world.has(Defect::PasswordTrimmed)
    {
        *text = text.trim().to_owned();
    }
    if let Some(rule) = world.options.rule.clone() {
        let mut fields = Value::Object(call.fields);
        rule.body(&format!("in:{} {}", request.method, request.path), &mut fields);
        call.fields = fields.as_object().cloned().unwrap_or_default();
    }
    world.serving = node;
    let limited = world.limit(&call, is_login);
    let left = match limited {
        Ok(left) => left,
        Err(refusal) => return Ok(refusal),
    };
    let answer = match *handler {
        Handler::Anyone(answer) => answer(&mut world, &call),
        Handler::User(answer) => match world.authenticated(&call) {
            None => Response::json(401, &json!({ "message": "Unauthenticated." })),
            Some(user) => answer(&mut world, &call, user),
        },
    };
    Ok(match left {
        Some((limit, left)) => with_rate(answer, limit, left),
        None => answer,
    })
}

fn with_rate(answer: Response, limit: u32, left: u32) -> Response {
    let answer = answer.with("X-RateLimit-Limit", limit.to_string());
    answer.with("X-RateLimit-Remaining", left.to_string())
}

impl World {
    /// Takes a request from the rate of its client: the limit and what is left, where it counts (LIM-24).
    fn limit(&mut self, call: &Call, is_login: bool) -> Result<Option<(u32, u32)>, Response> {
        let Some(limit) = self.options.limits.api_per_minute else { return Ok(None) };
        let user = self.authenticated(call).filter(|_| !is_login);
        let limit = if user.is_some() { limit * USER_REQUESTS } else { limit };
        let rate = EventRate { per_s: f64::from(limit) / 60.0, burst: f64::from(limit) };
        let whole = || Allowance::whole(rate);
        let allowance = match user {
            Some(user) => self.allowances.entry((user, "/api")).or_insert_with(whole),
            None => self.api_allowance.get_or_insert_with(whole),
        };
        match allowance.take(rate) {
            Ok(()) => Ok(Some((limit, allowance.left()))),
            Err(wait) => {
                let answer = Response::json(429, &json!({ "message": "Too Many Attempts." }));
                let seconds = wait.as_secs_f64().ceil().max(1.0) as u64;
                Err(with_rate(answer, limit, 0).with("Retry-After", seconds.to_string()))
            }
        }
    }
}

/// An answer to a request that has not arrived whole.
fn early(status: u16, message: &str) -> Response {
    Response::json(status, &json!({ "message": message })).with("Connection", "close")
}

/// The body, or `None` if it does not come in time.
fn receive(
    world: &Shared,
    request: &Request,
    reader: &mut BufReader<TcpStream>,
    is_upload: bool,
) -> io::Result<Option<Vec<u8>>> {
    if is_upload && lock(world).has(Defect::SlowUploadsKept) {
        return read_body(reader, request.body_length, BODY_BYTES_MAX);
    }
    let takes_turns = is_upload && lock(world).has(Defect::UploadsInTurn);
    while takes_turns && !lock(world).begin_upload() {
        thread::sleep(Duration::from_millis(5));
    }
    let body = read_in_time(reader, request.body_length);
    if takes_turns {
        lock(world).uploads -= 1;
    }
    body
}

fn is_token_shown(token: &str) -> bool {
    !matches!(token, "" | "false" | "null")
}

impl Call {
    fn read(request: &Request, body: &[u8], node: usize) -> Call {
        let content_type = request.header("content-type").unwrap_or("");
        let mut fields = Map::new();
        let mut file = None;
        if content_type.starts_with("multipart/form-data") {
            for (name, file_name, content) in parse_multipart(content_type, body) {
                if file_name.is_some() && name == "file" {
                    file = Some(content);
                } else {
                    fields.insert(name, String::from_utf8_lossy(&content).into());
                }
            }
        } else if content_type.starts_with("application/x-www-form-urlencoded") {
            let text = String::from_utf8_lossy(body);
            fields = parse_form(&text).into_iter().map(|(k, v)| (k, v.into())).collect();
        } else if let Ok(Value::Object(object)) = serde_json::from_slice(body) {
            fields = object;
        }
        let is_shown =
            |token: &&Value| !matches!(token, Value::Null | Value::Bool(false)) && **token != "";
        let query = request.param("api_token").filter(|token| is_token_shown(token));
        let body_token = fields.get("api_token").filter(is_shown);
        let bearer = request.header("authorization").and_then(|v| v.strip_prefix("Bearer "));
        let by_cookie = query.is_none() && body_token.is_none() && bearer.is_none();
        let token = match (query, body_token, bearer) {
            (Some(token), ..) => Some(token.to_owned()),
            (_, Some(token), _) => Some(token.as_str().unwrap_or("not a string").to_owned()),
            (_, _, Some(token)) => Some(token.to_owned()),
            _ if request.method == "GET"
                && request.param("api_token").is_none()
                && request.is_from(request.header("host")) =>
            {
                cookie(request, "throng_session")
            }
            _ => None,
        };
        for (name, value) in &request.query {
            fields.entry(name.clone()).or_insert_with(|| value.clone().into());
        }
        for (name, value) in &mut fields {
            if let Value::String(text) = value
                && name != "password"
            {
                *text = text.trim().to_owned();
            }
        }
        Call { fields, file, token, by_cookie, node }
    }

    fn text(&self, name: &str) -> &str {
        self.fields.get(name).and_then(Value::as_str).unwrap_or("")
    }

    fn number(&self, name: &str) -> Option<u64> {
        match self.fields.get(name)? {
            Value::String(text) => text.parse().ok(),
            other => other.as_u64(),
        }
    }
}

impl World {
    /// False while sixteen are being received.
    fn begin_upload(&mut self) -> bool {
        let has_turn = self.uploads < 16;
        self.uploads += usize::from(has_turn);
        has_turn
    }

    fn authenticated(&self, call: &Call) -> Option<u64> {
        let token = call.token.as_ref().filter(|token| token.len() == TOKEN_LENGTH)?;
        let is_other = self.token_nodes.get(token) != Some(&call.node);
        if is_other && self.has(Defect::TokensPerNode) {
            return None;
        }
        self.tokens.get(token).copied()
    }

    fn is_avatar(&self, path: &str) -> bool {
        let file = path.strip_prefix("/avatars/");
        let number = file.and_then(|file| file.strip_suffix(".svg"));
        let is_default = number.is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()));
        is_default || files::is_path(path) || file.is_some() && self.has(Defect::AnyAvatarPath)
    }

    fn register(&mut self, call: &Call) -> Response {
        let email = self.name_given(call);
        if let Some(message) = self.register_fault(call, &email) {
            return Response::json(200, &json!({ "errno": 1, "message": message }));
        }
        let id = self.users.len() as u64 + 1;
        let avatar = match call.text("src") {
            "" => format!("/avatars/{}.svg", id % 16),
            src => src.to_owned(),
        };
        let user = User {
            id,
            name: self.name_of(&email),
            email,
            password: call.text("password").to_owned(),
            avatar,
            created_at: now_iso(),
        };
        self.users.push(user);
        self.token_answer(id, "Registered", true)
    }

    /// The e-mail of a registration.
    fn name_given(&self, call: &Call) -> String {
        let name = call.text("name");
        if self.has(Defect::NamesNotTrimmed) { format!("{name} ") } else { name.to_owned() }
    }

    fn name_of(&self, email: &str) -> String {
        let local = email.split('@').next().unwrap_or("");
        if self.has(Defect::MarkupInNames) {
            return local.to_owned();
        }
        local.replace('\'', "’").replace(['<', '>', '"', '&', '`', '\\'], "")
    }

    fn register_fault(&self, call: &Call, email: &str) -> Option<&'static str> {
        let is_email = email.split_once('@').is_some_and(|(local, host)| {
            !local.is_empty()
                && host.contains('.')
                && !host.starts_with('.')
                && !email.contains(' ')
                && !host.contains('@')
        });
        let is_same = |one: &str| match self.has(Defect::CaseMatters) {
            true => one == email,
            false => one.eq_ignore_ascii_case(email),
        };
        let taken = self.users.iter().any(|user| is_same(&user.email));
        let src = call.fields.get("src").filter(|src| !src.is_null() && **src != "");
        let src_text = src.and_then(Value::as_str);
        let password = call.fields.get("password").filter(|value| !value.is_null());
        if email.is_empty() {
            Some("The name field is required.")
        } else if !is_email {
            Some("The name must be a valid email address.")
        } else if email.chars().count() > 100 {
            Some("The name may not be greater than 100 characters.")
        } else if taken && !self.has(Defect::DuplicateEmail) {
            Some("The name has already been taken.")
        } else if password.is_none_or(|password| password == "") {
            Some("The password field is required.")
        } else if !password.is_some_and(Value::is_string) {
            Some("The password must be a string.")
        } else if call.text("password").chars().count() < 6 {
            Some("The password must be at least 6 characters.")
        } else if src.is_some() && self.has(Defect::SourceUnchecked) {
            None
        } else if src.is_some() && !src_text.is_some_and(|src| is_url(src) || self.is_avatar(src)) {
            Some("The src is not a valid URL.")
        } else if src_text.is_some_and(|src| src.chars().count() > 255) {
            Some("The src may not be greater than 255 characters.")
        } else {
            None
        }
    }

    fn log_in(&mut self, call: &Call) -> Response {
        let (email, password) = (call.text("name"), call.text("password"));
        let fault = if email.is_empty() {
            Some("The name field is required.")
        } else if password.is_empty() {
            Some("The password field is required.")
        } else {
            None
        };
        let name = match self.has(Defect::GuessesLockAll) {
            true => String::new(),
            false => email.to_lowercase(),
        };
        if self.has(Defect::LoginHoldsAll) {
            thread::sleep(Duration::from_millis(50));
        }
        let now = Instant::now();
        let guesses = self.guesses.get(&name).copied();
        let wait = guesses.and_then(|(_, open_at)| open_at.checked_duration_since(now));
        if let Some(wait) = wait.filter(|wait| !wait.is_zero()) {
            let refusal = Response::json(429, &json!({ "message": "Too Many Attempts." }));
            let seconds =
                if self.has(Defect::WaitsBeyondRetryAfter) { 1 } else { wait.as_secs() + 1 };
            return refusal.with("Retry-After", seconds.to_string());
        }
        let found = self
            .users
            .iter()
            .find(|user| user.email.eq_ignore_ascii_case(email) && user.password == password);
        match (fault, found.map(|user| user.id)) {
            (None, Some(id)) => {
                self.guesses.remove(&name);
                if self.has(Defect::LoginEndsTokens) {
                    self.tokens.retain(|_, user| *user != id);
                }
                self.token_answer(id, "Logged in", false)
            }
            (fault, _) => {
                if fault.is_none() {
                    self.note_guess(name, now);
                }
                let message = fault.unwrap_or("The e-mail or password is wrong.");
                Response::json(200, &json!({ "errno": 1, "message": message }))
            }
        }
    }

    /// A wrong password: beyond the free ones, each doubles the wait.
    fn note_guess(&mut self, name: String, now: Instant) {
        let is_too_long = self.has(Defect::WaitsBeyondRetryAfter);
        let (failures, open_at) = self.guesses.entry(name).or_insert((0, now));
        *failures += 1;
        if let Some(doublings) = failures.checked_sub(self.options.login_failures_max) {
            let seconds = if is_too_long { 60 } else { 1 << doublings.min(9) };
            *open_at = now + Duration::from_secs(seconds);
        }
    }

    fn token_answer(&mut self, user: u64, message: &str, registers: bool) -> Response {
        let token = random_token();
        self.tokens.insert(token.clone(), user);
        self.token_nodes.insert(token.clone(), self.serving);
        let mut shown = self.user_json(user);
        shown["api_token"] = json!(token);
        if registers && let Value::Object(shown) = &mut shown {
            shown.remove("email_verified_at");
        }
        let cookie = format!("throng_session={token}; HttpOnly; SameSite=Strict; Path=/api");
        let answer = json!({ "errno": 0, "user": shown, "message": message });
        Response::json(200, &answer).with("Set-Cookie", cookie)
    }

    fn user_json(&self, id: u64) -> Value {
        let Some(user) = self.user(id) else {
            return Value::Null;
        };
        json!({
            "id": user.id,
            "name": user.name,
            "email": user.email,
            "email_verified_at": null,
            "avatar": user.avatar,
            "created_at": user.created_at,
            "updated_at": user.created_at,
        })
    }

    fn account(&mut self, call: &Call, user: u64) -> Response {
        let mut shown = self.user_json(user);
        if !call.by_cookie {
            shown["api_token"] = json!(call.token);
        }
        Response::json(200, &shown)
    }

    fn room_list(&mut self, _call: &Call, user: u64) -> Response {
        let rooms: Vec<Value> = self.rooms.keys().map(|&id| self.room_json(user, id)).collect();
        Response::json(200, &json!({ "errno": 0, "rooms": rooms }))
    }

    fn robot(&mut self, _call: &Call, _user: u64) -> Response {
        let text = json!({ "code": 100_000, "text": "No robot is configured here." });
        Response::json(200, &json!({ "data": text.to_string() }))
    }

    fn message_image(&mut self, call: &Call, _user: u64) -> Response {
        let is_room = call.number("roomid").is_some_and(|room| self.rooms.contains_key(&room));
        match is_room.then(|| self.upload(call, Folder::Messages)).flatten() {
            Some(url) => Response::json(200, &json!({ "errno": 200, "msg": "Saved", "url": url })),
            None => refused("Invalid parameters (room or image file is missing or invalid)"),
        }
    }

    fn avatar(&mut self, call: &Call, user: u64) -> Response {
        let Some(url) = self.upload(call, Folder::Avatars) else {
            return refused("Invalid parameters (the avatar image is missing or invalid)");
        };
        if let Some(user) = self.users.get_mut(user as usize - 1) {
            user.avatar = url.clone();
        }
        Response::json(200, &json!({ "errno": 0, "data": { "url": url }, "msg": "Saved" }))
    }

    fn room_json(&self, user: u64, id: u64) -> Value {
        let (online, seq, unread) = (self.online(id), self.seq(id), self.unread(user, id));
        json!({ "id": id, "name": format!("Room {id}"), "online": online, "seq": seq, "unread": unread })
    }

    fn upload(&mut self, call: &Call, folder: Folder) -> Option<String> {
        let bytes =
            call.file.as_ref().filter(|bytes| bytes.len() <= self.options.image_bytes_max)?;
        self.store_file(folder, bytes)
    }

    fn log_out(&mut self, call: &Call, _user: u64) -> Response {
        if let Some(token) = &call.token {
            if !self.has(Defect::LogoutKeepsToken) {
                self.tokens.remove(token);
            }
            let of_user = self.has(Defect::LogoutOfUser).then_some(_user);
            let closes = self.has(Defect::LogoutClosesSessions);
            let stays_here = self.has(Defect::RemoteLogoutLost);
            let held = |session: &&Session| {
                (session.token.as_ref() == Some(token)
                    || of_user.is_some() && session.user == of_user)
                    && (!stays_here || session.node == call.node)
            };
            let bound: Vec<String> =
                self.sessions.values().filter(held).map(|session| session.sid.clone()).collect();
            if !self.has(Defect::LogoutKeepsSessions) {
                for sid in bound {
                    if closes {
                        self.end_session(&sid, 1008, "parse_error");
                        continue;
                    }
                    self.leave_all(&sid);
                    if let Some(session) = self.sessions.get_mut(&sid) {
                        session.user = None;
                        session.token = None;
                    }
                    self.emit(&sid, "login", &[Value::from(LOGIN_TEXT)]);
                }
            }
        }
        let cleared = "throng_session=; HttpOnly; SameSite=Strict; Path=/api; Max-Age=0";
        Response::json(200, &json!({ "errno": 0, "message": "Logged out" }))
            .with("Set-Cookie", cleared)
    }

    fn history(&mut self, call: &Call, user: u64) -> Response {
        let (room, page) =
            (call.number("roomid").unwrap_or(0), call.number("current").unwrap_or(0));
        let page = if self.has(Defect::MissingRoomHistory) { page.max(1) } else { page };
        let lags = self.has(Defect::HistoryLags);
        let size = if self.has(Defect::PageOf21) { PAGE + 1 } else { PAGE };
        let ignores_total = self.has(Defect::TotalIgnored);
        let is_last = self.has(Defect::PastPageIsLast);
        let empty_fourth = self.has(Defect::FourthPageEmpty);
        let Some(state) = self.rooms.get(&room).filter(|_| page > 0) else {
            return Response::json(200, &json!({ "data": { "errno": 1 } }));
        };
        let is_old = |at: &&Instant| !lags || at.elapsed() > Duration::from_millis(500);
        let stored = state.stored_at.iter().filter(is_old).count() as u64;
        let given = call.number("total").filter(|&t| t > 0 && t <= stored && !ignores_total);
        let total = given.unwrap_or(stored);
        let asked = page;
        let page = if is_last && page.saturating_sub(1) * PAGE >= total { 1 } else { page };
        let (from, to) = if self.has(Defect::HistoryOldestFirst) {
            ((page - 1) * PAGE, (page * PAGE).min(total))
        } else if empty_fourth && page > 3 {
            (0, 0)
        } else {
            let before = (page - 1).saturating_mul(size);
            (total.saturating_sub(page.saturating_mul(size)), total.saturating_sub(before))
        };
        let rows = (from.min(to)..to).filter_map(|index| state.messages.get(index as usize));
        let rows = rows.map(|message| {
            let mut row = self.message_json(room, message, Some(user));
            let is_shown = message.user == user || self.has(Defect::CidInHistoryOfAll);
            if let Some(cid) = message.cid.as_ref().filter(|_| is_shown) {
                row["cid"] = json!(cid);
            }
            row
        });
        let rows: Vec<Value> = rows.collect();
        let data = json!({ "errno": 0, "data": rows, "total": total, "current": asked });
        Response::json(200, &json!({ "data": data }))
    }

    /// Everything outside `/api`.
    fn file(&self, request: &Request) -> Response {
        let breaks_query = self.has(Defect::QueryIsPath) && !request.query.is_empty();
        if self.has(Defect::FilesAnywhere) && request.path.starts_with("/storage/") {
            return Response::new(200, "text/html; charset=UTF-8", "<!doctype html>");
        }
        if breaks_query {
            return Response::json(404, &json!({ "message": "Not Found" }));
        }
        if let Some((content_type, bytes)) = self.files.get(&request.path) {
            return Response::new(200, content_type, bytes.clone())
                .with("X-Content-Type-Options", "nosniff")
                .with("Content-Security-Policy", "default-src 'none'")
                .with("Cache-Control", "public, max-age=31536000, immutable");
        }
        let avatar = request.path.strip_prefix("/avatars/").and_then(|n| n.strip_suffix(".svg"));
        if avatar.is_some_and(|n| n.parse::<u8>().is_ok_and(|n| n < 16)) {
            let svg = "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 1 1'/>";
            return Response::new(200, "image/svg+xml", svg);
        }
        match request.path.as_str() {
            "/health" => Response::json(200, &json!({ "status": "ok" })),
            "/ready" => Response::json(200, &json!({ "ready": true, "checks": {} })),
            "/metrics" => {
                let text = format!(
                    "# TYPE throng_sessions gauge\nthrong_sessions {}\n",
                    self.sessions.len()
                );
                Response::new(200, "text/plain; version=0.0.4; charset=utf-8", text)
            }
            "/" => Response::new(
                200,
                "text/html; charset=UTF-8",
                "<!doctype html><title>Reference</title>",
            ),
            _ => Response::json(404, &json!({ "message": "Not Found" })),
        }
    }
}

fn refused(msg: &str) -> Response {
    Response::json(200, &json!({ "errno": 500, "msg": msg }))
}

fn is_url(text: &str) -> bool {
    let rest = ["http://", "https://", "//"].iter().find_map(|scheme| text.strip_prefix(scheme));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(' '))
}
