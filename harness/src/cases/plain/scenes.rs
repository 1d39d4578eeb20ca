//! What the cases of chapter 12 do again and again.

use crate::cases::prelude::*;
use crate::client::member::{Answer, Delivered};

/// The ids of these members, sorted: what a roster of exactly them has.
pub fn ids_of(members: &[&Member]) -> Vec<String> {
    let mut ids: Vec<String> = members.iter().map(|member| member.id.clone()).collect();
    ids.sort();
    ids
}

pub fn is_accepted(what: &str, answer: &Answer) -> Outcome {
    require(!answer.is_refused, &format!("{what} is accepted"), || {
        format!("the acknowledgement {} fits `refused` of the events file", shown(&answer.args))
    })
}

pub fn joins(member: &Member, room: &str) -> Outcome {
    is_accepted("the join", &member.join(room)?)
}

pub fn all_join(members: &[&Member], room: &str) -> Outcome {
    members.iter().try_for_each(|member| joins(member, room))
}

pub fn leaves(member: &Member, room: &str) -> Outcome {
    is_accepted("the leave", &member.leave(room)?)
}

/// Sends a new text, which is accepted, and returns it.
pub fn says(context: &Context, member: &Member, room: &str) -> Result<String, Stop> {
    let text = context.fresh_text();
    is_accepted("the message", &member.say(room, &text)?)?;
    Ok(text)
}

/// A new text reaches these members, each once.
pub fn reaches(
    context: &Context,
    sender: &Member,
    room: &str,
    members: &[&Member],
    clause: &str,
) -> Result<String, Stop> {
    let text = says(context, sender, room)?;
    has_come(sender, room, members, clause, &text)?;
    Ok(text)
}

/// The text reaches these members, each once.
pub fn has_come(
    sender: &Member,
    room: &str,
    members: &[&Member],
    clause: &str,
    text: &str,
) -> Outcome {
    for (index, member) in members.iter().enumerate() {
        let delivered = arrives(clause, &format!("member {index}"), member, text)?;
        let named = (delivered.room.as_deref(), delivered.sender.as_deref());
        let fits = named.0.is_none_or(|of| of == room) && named.1.is_none_or(|of| of == sender.id);
        let expected = format!("EVT-12: room {room:?} and sender {:?}", sender.id);
        require(fits, &expected, || format!("{} and {}", shown(&named.0), shown(&named.1)))?;
    }
    comes_once(members, text)
}

/// The text is delivered to the member.
pub fn arrives(clause: &str, who: &str, member: &Member, text: &str) -> Result<Delivered, Stop> {
    member.wait_text(text).or_else(|why| match why {
        ClientError::Timeout(why) => {
            let hint = member.unfit(text).map(|name| {
                format!("; an event `{name}` holds the text, and does not fit `heard` of the events file")
            });
            let observed = format!("{why}{}", hint.unwrap_or_default());
            fail(format!("{clause}: {who} receives the message"), observed)
        }
        why => Err(why.into()),
    })
}

/// The text has been delivered to each of these members once, and is not again.
pub fn comes_once(members: &[&Member], text: &str) -> Outcome {
    for (index, member) in members.iter().enumerate() {
        member.fence()?;
        let count = member.count(text);
        require(count == 1, &format!("member {index} receives {text:?} once"), || {
            format!("{count} times")
        })?;
    }
    Ok(())
}

/// The text is not delivered to the session, now that it has been to others.
pub fn does_not_reach(context: &Context, clause: &str, who: &Member, text: &str) -> Outcome {
    context.pause(QUIET);
    who.fence()?;
    let delivered = who.deliveries().into_iter().find(|delivered| delivered.text == text);
    nothing(&format!("{clause}: {text:?} does not reach the session"), delivered)
}

/// The last roster of the room that each receiver gets has exactly these members.
pub fn roster_is(clause: &str, receivers: &[&Member], room: &str, members: &[&Member]) -> Outcome {
    let wanted = ids_of(members);
    for (index, receiver) in receivers.iter().enumerate() {
        let Err(why) = receiver.wait_roster(room, &wanted) else { continue };
        if !matches!(why, ClientError::Timeout(_)) {
            return Err(why.into());
        }
        let last = receiver.roster(room);
        let mut once = last.clone().unwrap_or_default();
        once.dedup();
        let clause = if once == wanted { "EVT-24" } else { clause };
        let expected = format!("{clause}: the roster of receiver {index} is {wanted:?}");
        return fail(
            expected,
            match last {
                Some(ids) => format!("it is {ids:?} at last"),
                None => format!("no roster has come: {why}{}", unfit_roster(receiver)),
            },
        );
    }
    Ok(())
}

fn unfit_roster(receiver: &Member) -> String {
    let names = receiver.unnamed();
    if names.is_empty() {
        return String::new();
    }
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    format!("; what has come as {} does not fit `roster` of the events file", names.join(", "))
}
