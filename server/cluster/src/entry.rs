//! The entries of the logs and their encoding.
//!
//! An entry has the fields `n` (incarnation), `q` (its number among the entries of that incarnation
//! in this stream, from 1), `k` (kind) and `d` (JSON):
//!
//! | k | d | meaning |
//! |---|---|---|
//! | `m` | `{"r":room,"m":[{"s":seq,"i":id,"u":user,"n":name,"a":avatar,"t":msg,"g":img,"d":time}]}` | messages of a room |
//! | `t` | `{"t":[[room,seq],…]}` | last seq of rooms; read the messages from SQL |
//! | `p` | `{"r":room,"j":[{"u":user,"n":name,"a":avatar}],"l":[[user,seq],…]}` | users joined and left, on this node |
//! | `c` | `{"c":[[room,user,choice],…]}` | users have chosen whether they follow rooms |
//! | `u` | `{"u":[user,…]}` | users changed name or avatar; read SQL |
//! | `v` | `{"v":[hex SHA-256,…]}` | tokens were revoked |
//! | `f` | `{"u":[user,…]}` | users lost their fd; a node with a connection of theirs binds it |
//! | `e` | `{"p":[process,…]}` | processes ended, and the read marks of their users are raised |
//! | `s` | `{}` | the registry has changed; read it |
//! | `h` | `{"q":[last q of each stream]}` | heartbeat: how far the node has written each stream |
//!
//! `u`, `v`, `f`, `e`, `s` and `h` are in stream 0. Where Redis numbers messages (`ephemeral`), an `m`
//! has no `q`; its first number is in the field `f`, and `t` says which publish it answers.
//!
//! No e-mail and no token is ever written.

use std::sync::Arc;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use throng_chat::UserCard;
use throng_chat::cluster::StoredMessage;
use throng_chat::{Choice, NewMessage, RoomId, Seq, TokenHash, UserId};

use crate::awaited_numbers::message_id;
use crate::order::Fields;

/// The kind and the content of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// `m`
    Messages { room: RoomId, messages: Vec<StoredMessage> },
    /// `t`
    Tips(Vec<(RoomId, Seq)>),
    /// `p`
    Present { room: RoomId, joined: Vec<Arc<UserCard>>, left: Vec<(UserId, Seq)> },
    /// `c`
    Chosen(Vec<(RoomId, UserId, Choice)>),
    /// `u`
    Changed(Vec<UserId>),
    /// `v`
    Revoked(Vec<TokenHash>),
    /// `f`
    Freed(Vec<UserId>),
    /// `e`
    MarksRaised(Vec<String>),
    /// `s`
    Registry,
    /// `h`
    Beat(Vec<u64>),
}

/// One entry of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The incarnation that wrote it.
    pub incarnation: String,
    /// Its number among the entries of the incarnation in this stream.
    /// `None` where Redis numbered the messages.
    pub q: Option<u64>,
    /// The publish of the incarnation's process that it answers (`ephemeral`).
    pub publish_id: Option<u64>,
    pub body: Body,
}

/// Not an entry of Throng, or one of a later version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

#[derive(Serialize, Deserialize)]
struct Message<'a> {
    #[serde(default)]
    s: u64,
    #[serde(default)]
    i: i64,
    u: u32,
    n: Text<'a>,
    a: Text<'a>,
    t: Text<'a>,
    g: Text<'a>,
    d: Text<'a>,
}

/// Borrowed when encoding, owned after decoding: JSON strings may contain escapes.
type Text<'a> = std::borrow::Cow<'a, str>;

#[derive(Serialize, Deserialize)]
struct Messages<'a> {
    r: u32,
    m: Vec<Message<'a>>,
}

#[derive(Serialize, Deserialize)]
struct Card<'a> {
    u: u32,
    n: Text<'a>,
    a: Text<'a>,
}

#[derive(Serialize, Deserialize)]
struct Present<'a> {
    r: u32,
    #[serde(default)]
    j: Vec<Card<'a>>,
    #[serde(default)]
    l: Vec<(u32, u64)>,
}

#[derive(Serialize, Deserialize)]
struct Tips {
    t: Vec<(u32, u64)>,
}

#[derive(Serialize, Deserialize)]
struct Choices {
    c: Vec<(u32, u32, u32)>,
}

#[derive(Serialize, Deserialize)]
struct Users {
    u: Vec<u32>,
}

#[derive(Serialize, Deserialize)]
struct Tokens {
    v: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Processes {
    p: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Beat {
    q: Vec<u64>,
}

/// The fields of an entry, its number included.
pub fn encode(incarnation: &str, q: u64, body: &Body) -> Fields {
    let (kind, json) = match body {
        Body::Messages { room, messages } => ("m", messages_json(*room, messages)),
        Body::Tips(tips) => {
            ("t", json(&Tips { t: tips.iter().map(|(room, seq)| (room.0, seq.0)).collect() }))
        }
        Body::Present { room, joined, left } => {
            let j = joined.iter().map(|card| Card::of(card)).collect();
            let l = left.iter().map(|(user, seq)| (user.0, seq.0)).collect();
            ("p", json(&Present { r: room.0, j, l }))
        }
        Body::Chosen(choices) => {
            let c = choices.iter().map(|(room, user, choice)| (room.0, user.0, choice.0)).collect();
            ("c", json(&Choices { c }))
        }
        Body::Changed(users) => ("u", users_json(users)),
        Body::Revoked(tokens) => {
            ("v", json(&Tokens { v: tokens.iter().map(|hash| HEXLOWER.encode(&hash.0)).collect() }))
        }
        Body::Freed(users) => ("f", users_json(users)),
        Body::MarksRaised(processes) => ("e", json(&Processes { p: processes.clone() })),
        Body::Registry => ("s", "{}".to_owned()),
        Body::Beat(q) => ("h", json(&Beat { q: q.clone() })),
    };
    fields(&[("n", incarnation), ("q", &q.to_string()), ("k", kind), ("d", &json)])
}

/// The fields of messages that Redis will number. Redis adds `d`, the messages, and `f`, the first
/// number.
pub fn unnumbered_fields(incarnation: &str, publish_id: u64) -> Fields {
    fields(&[("n", incarnation), ("t", &publish_id.to_string()), ("k", "m")])
}

/// A message that Redis will number, as it stands in `d`.
pub fn encode_unnumbered(message: &NewMessage, card: &UserCard) -> String {
    json(&Message {
        s: 0,
        i: 0,
        u: card.id.0,
        n: Text::from(&*card.name),
        a: Text::from(&*card.avatar),
        t: Text::from(&*message.msg),
        g: Text::from(&*message.img),
        d: Text::from(&*message.time),
    })
}

/// What Redis makes of messages for `d`.
pub fn unnumbered_json<'m>(room: RoomId, messages: impl Iterator<Item = &'m str>) -> String {
    let messages: Vec<&str> = messages.collect();
    format!(r#"{{"r":{},"m":[{}]}}"#, room.0, messages.join(","))
}

/// The reverse of [`encode`], and of what Redis makes of [`encode_unnumbered`].
///
/// # Errors
/// [`Malformed`]; the reader counts the entry and skips it.
pub fn decode(fields: &Fields, partitions: usize) -> Result<Entry, Malformed> {
    let field = |name: &str| {
        fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    };
    let number = |name: &str| match field(name) {
        None => Ok(None),
        Some(text) => text.parse::<u64>().map(Some).map_err(|_| Malformed),
    };
    let incarnation = field("n").filter(|name| is_incarnation(name)).ok_or(Malformed)?.to_owned();
    let data = field("d").ok_or(Malformed)?;
    let first = number("f")?;
    let q = number("q")?;
    let body = match field("k").ok_or(Malformed)? {
        "m" => messages(data, first)?,
        "t" => {
            let tips = parse::<Tips>(data)?.t;
            Body::Tips(tips.into_iter().map(|(room, seq)| (RoomId(room), Seq(seq))).collect())
        }
        "p" => {
            let present: Present<'_> = parse(data)?;
            Body::Present {
                room: RoomId(present.r),
                joined: present.j.into_iter().map(|card| Arc::new(card.read())).collect(),
                left: present.l.into_iter().map(|(user, seq)| (UserId(user), Seq(seq))).collect(),
            }
        }
        "c" => {
            let choices = parse::<Choices>(data)?.c.into_iter();
            let choices = choices.map(|(room, user, choice)| {
                (RoomId(room), UserId(user), Choice(choice))
            });
            Body::Chosen(choices.collect())
        }
        "u" => Body::Changed(users(data)?),
        "f" => Body::Freed(users(data)?),
        "v" => Body::Revoked(
            parse::<Tokens>(data)?.v.iter().map(|hex| token(hex)).collect::<Result<_, _>>()?,
        ),
        "e" => Body::MarksRaised(parse::<Processes>(data)?.p),
        "s" => Body::Registry,
        "h" => {
            let q = parse::<Beat>(data)?.q;
            if q.len() != partitions {
                return Err(Malformed);
            }
            Body::Beat(q)
        }
        _ => return Err(Malformed),
    };
    if q.is_none() && first.is_none() {
        return Err(Malformed);
    }
    Ok(Entry { incarnation, q, publish_id: number("t")?, body })
}

/// The value of a field of a presence hash.
pub fn encode_card(card: &UserCard) -> String {
    json(&CardValue { name: Text::from(&*card.name), avatar: Text::from(&*card.avatar) })
}

/// The reverse of [`encode_card`], without an e-mail.
///
/// # Errors
/// [`Malformed`]; the reader counts the field and skips it.
pub fn decode_card(user: UserId, value: &str) -> Result<UserCard, Malformed> {
    let card: CardValue<'_> = parse(value)?;
    Ok(UserCard {
        id: user,
        email: Box::default(),
        name: card.name.into(),
        avatar: card.avatar.into(),
    })
}

/// Read by operators with `redis-cli`, hence the long names.
#[derive(Serialize, Deserialize)]
struct CardValue<'a> {
    name: Text<'a>,
    avatar: Text<'a>,
}

/// `<process>.<generation>`.
pub fn is_incarnation(name: &str) -> bool {
    let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.';
    name.len() <= 64 && name.contains('.') && name.bytes().all(is_safe)
}

/// The process of an incarnation, the same for all its incarnations.
pub fn process_of(incarnation: &str) -> &str {
    incarnation.rsplit_once('.').map_or(incarnation, |(process, _)| process)
}

/// The number of the incarnation within its process; 0 when the name has none.
pub fn generation_of(incarnation: &str) -> u64 {
    incarnation.rsplit_once('.').and_then(|(_, number)| number.parse().ok()).unwrap_or_default()
}

impl Card<'_> {
    fn of(card: &UserCard) -> Card<'_> {
        Card { u: card.id.0, n: Text::from(&*card.name), a: Text::from(&*card.avatar) }
    }

    fn read(self) -> UserCard {
        UserCard {
            id: UserId(self.u),
            email: Box::default(),
            name: self.n.into(),
            avatar: self.a.into(),
        }
    }
}

fn messages_json(room: RoomId, messages: &[StoredMessage]) -> String {
    let m = messages
        .iter()
        .map(|message| Message {
            s: message.seq.0,
            i: message.id,
            u: message.author.id.0,
            n: Text::from(&*message.author.name),
            a: Text::from(&*message.author.avatar),
            t: Text::from(&*message.msg),
            g: Text::from(&*message.img),
            d: Text::from(&*message.time),
        })
        .collect();
    json(&Messages { r: room.0, m })
}

fn messages(data: &str, first: Option<u64>) -> Result<Body, Malformed> {
    let read: Messages<'_> = parse(data)?;
    let mut messages = Vec::with_capacity(read.m.len());
    for (index, message) in read.m.into_iter().enumerate() {
        let (seq, id) = match first {
            None => (message.s, message.i),
            Some(first) => {
                let seq = first.checked_add(index as u64).ok_or(Malformed)?;
                (seq, message_id(RoomId(read.r), Seq(seq)).ok_or(Malformed)?)
            }
        };
        let author = Card { u: message.u, n: message.n, a: message.a }.read();
        messages.push(StoredMessage {
            seq: Seq(seq),
            id,
            author: Arc::new(author),
            msg: message.t.into(),
            img: message.g.into(),
            time: message.d.into(),
        });
    }
    Ok(Body::Messages { room: RoomId(read.r), messages })
}

fn users_json(users: &[UserId]) -> String {
    json(&Users { u: users.iter().map(|user| user.0).collect() })
}

fn users(data: &str) -> Result<Vec<UserId>, Malformed> {
    Ok(parse::<Users>(data)?.u.into_iter().map(UserId).collect())
}

fn token(hex: &str) -> Result<TokenHash, Malformed> {
    let bytes = HEXLOWER.decode(hex.as_bytes()).map_err(|_| Malformed)?;
    bytes.try_into().map(TokenHash).map_err(|_| Malformed)
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("plain structs of numbers and strings have a JSON form")
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Malformed> {
    serde_json::from_str(text).map_err(|_| Malformed)
}

fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[cfg(test)]
mod tests;
