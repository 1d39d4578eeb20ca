//! Chapter 12: the names of rooms.

use super::scenes::*;
use crate::cases::prelude::*;
use crate::client::member::Member;

cases! {
    names "events.names" ["EVT-11", "EVT-12"] over ONLY_E4W needs EVENTS
        does "sends messages to rooms of every kind of name, with a session in a room whose name is nearly the same"
        expects "each name is a room of its own, and is delivered unchanged, unless its join is refused";
    ids "events.ids-as-names" ["EVT-18"] over ONLY_E4W needs EVENTS
        does "two sessions join a room whose name is the Socket.IO id of a third, and one sends a message"
        expects "it does not reach the third";
}

fn names(context: &Context) -> Outcome {
    let (sender, receiver) = (context.member("sender")?, context.watcher("receiver")?);
    let apart = context.watcher("apart")?;
    let mut texts = Vec::new();
    for (room, other) in pairs(&context.room_name()) {
        context.step(format!("in {}", shown(&room)));
        if sender.join(&room)?.is_refused || receiver.join(&room)?.is_refused {
            continue;
        }
        if let Some(other) = other {
            // Refused or not.
            apart.join(&other)?;
        }
        let Some(text) = says_when_let(context, &sender, &room)? else {
            return skip("the target refuses a message again and again");
        };
        has_come(&sender, &room, &[&receiver], "EVT-12", &text)?;
        texts.push(text);
    }
    context.pause(QUIET);
    apart.fence()?;
    let stray = apart.deliveries().into_iter().find(|delivered| texts.contains(&delivered.text));
    nothing("EVT-11: no message of one room reaches a member of another", stray)
}

/// Sends a new text; none if it is refused three times, each a second after the one before. A target may limit messages.
fn says_when_let(context: &Context, sender: &Member, room: &str) -> Result<Option<String>, Stop> {
    for _ in 0..3 {
        let text = context.fresh_text();
        if !sender.say(room, &text)?.is_refused {
            return Ok(Some(text));
        }
        context.pause(Duration::from_secs(1));
    }
    Ok(None)
}

/// Names of rooms, with this number in them, and names that a server may take for the same.
fn pairs(number: &str) -> Vec<(String, Option<String>)> {
    let (long, longer) = ("long-".repeat(8), "longer-".repeat(40));
    let marks = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~".chars();
    let marks = marks.map(|mark| (format!("{number}{mark}a"), Some(format!("{number}{mark}b"))));
    let pair = |room: String, other: String| (room, Some(other));
    let alone = |room: &str| (room.to_owned(), None);
    let named = vec![
        pair(format!("Room-{number}"), format!("room-{number}")),
        pair(format!("{long}{number}-a"), format!("{long}{number}-b")),
        pair(format!("{longer}{number}-a"), format!("{longer}{number}-b")),
        pair(format!("{number} "), number.to_owned()),
        pair(format!("0{number}"), number.to_owned()),
        pair(format!("{number}.0"), number.to_owned()),
        pair(format!("部屋-{number}"), format!("家屋-{number}")),
        pair(format!("{number}-\u{e9}"), format!("{number}-e")),
        pair(format!("{number}-\u{e9}"), format!("{number}-e\u{301}")),
        pair(format!("{number}-🎉"), format!("{number}-🎊")),
        pair(format!("{number}\u{200d}c"), format!("{number}c")),
        pair(format!("{number}%20a"), format!("{number} a")),
        pair(format!("{number}+b"), format!("{number} b")),
        pair(format!("{number}\u{0}a"), format!("{number}\u{0}b")),
        pair(format!("{number}①"), format!("{number}1")),
        pair(format!("{number}_c"), format!("{number}-c")),
        alone("__proto__"),
        alone("constructor"),
        alone("toString"),
    ];
    named.into_iter().chain(marks).collect()
}

fn ids(context: &Context) -> Outcome {
    let (sender, receiver) = (context.member("sender")?, context.watcher("receiver")?);
    let outsider = context.watcher("outsider")?;
    for member in [&sender, &receiver] {
        if member.join(&outsider.id)?.is_refused {
            return skip("the target refuses a room with this name");
        }
    }
    let text = reaches(context, &sender, &outsider.id, &[&receiver], "EVT-10")?;
    does_not_reach(context, "EVT-18", &outsider, &text)
}
