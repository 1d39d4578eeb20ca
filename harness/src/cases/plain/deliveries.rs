//! Chapter 12: messages.

use super::scenes::*;
use crate::cases::prelude::*;

cases! {
    own_copy "events.own-copy" ["EVT-13"] over EVERY needs EVENTS
        does "two sessions send messages to two rooms, one after the other"
        expects "each of its own messages is delivered to it once, or none is";
    crowd "events.crowd" ["EVT-10"] over EVERY needs EVENTS
        does "eight sessions in one room send a message each"
        expects "each reaches the seven others once";
    many_members "events.many-members" ["EVT-10", "EVT-2", "EVT-20", "EVT-24"] over ONLY_E4W needs EVENTS
        does "100 sessions join one room; the first, the last and one between send messages"
        expects "each message reaches all others once; where there are rosters, the last has all 100";
    other_rooms "events.other-rooms" ["EVT-11"] over EVERY needs EVENTS
        does "sends a message to one of four rooms, while sessions are in the others and in none"
        expects "it reaches the members of this room only";
    order "events.order" ["EVT-14", "EVT-10"] over EVERY needs EVENTS
        does "sends 120 messages without waiting, long ones among them, to a room with three other members"
        expects "each member receives all of them once, in this order";
    equal_texts "events.equal-texts" ["EVT-15"] over EVERY needs EVENTS
        does "sends the same text three times, and once from another session"
        expects "every other member receives it four times or as often as others have sent it";
    outsider "events.outsider" ["EVT-16"] over EVERY needs EVENTS
        does "sends messages to a room that it has never joined and, where there is a leave, to one that it has left"
        expects "they reach nobody";
    texts "events.texts" ["EVT-12", "EVT-17"] over EVERY needs EVENTS
        does "sends an empty text, texts of other scripts, of control characters and of JSON, and one of 64 KiB"
        expects "each arrives unchanged, unless it is refused";
}

fn own_copy(context: &Context) -> Outcome {
    const MESSAGES: usize = 12;
    let (one, two) = (context.room_name(), context.room_name());
    let (guest, watcher) = (context.member("guest")?, context.watcher("watcher")?);
    for room in [&one, &two] {
        all_join(&[&guest, &watcher], room)?;
    }
    let mut counts = Vec::new();
    for (sender, other) in [(&guest, &watcher), (&watcher, &guest)] {
        let rooms = [&one, &one, &two, &one, &two].into_iter().cycle();
        let texts: Vec<_> = rooms.take(MESSAGES).map(|room| (room, context.fresh_text())).collect();
        for (room, text) in &texts {
            is_accepted("the message", &sender.say(room, text)?)?;
        }
        for (_, text) in &texts {
            arrives("EVT-10", "the other member", other, text)?;
        }
        context.pause(QUIET);
        sender.fence()?;
        counts.extend(texts.iter().map(|(_, text)| sender.count(text)));
    }
    let is_consistent = counts.iter().all(|count| *count == counts[0]) && counts[0] <= 1;
    require(is_consistent, "EVT-13: each own message once, or none", || {
        format!(
            "own copies of {} messages, those of the second session last: {counts:?}",
            counts.len()
        )
    })
}

fn crowd(context: &Context) -> Outcome {
    let room = context.room_name();
    let members = (0..8)
        .map(|index| context.member(&format!("member-{index}")))
        .collect::<Result<Vec<Member>, Stop>>()?;
    let members: Vec<&Member> = members.iter().collect();
    all_join(&members, &room)?;
    for (index, sender) in members.iter().enumerate() {
        let others: Vec<&Member> =
            members.iter().enumerate().filter(|(at, _)| *at != index).map(|(_, m)| *m).collect();
        reaches(context, sender, &room, &others, "EVT-10")?;
    }
    Ok(())
}

fn many_members(context: &Context) -> Outcome {
    const MEMBERS: usize = 100;
    let room = context.room_name();
    let mut sessions = Vec::new();
    for index in 0..MEMBERS {
        let session = context.member(&format!("member-{index}"))?;
        if session.join(&room)?.is_refused {
            return skip(format!("the target refuses the join of member {}", index + 1));
        }
        sessions.push(session);
    }
    let members: Vec<&Member> = sessions.iter().collect();
    for sender in [0, MEMBERS / 2, MEMBERS - 1] {
        let mut others = members.clone();
        others.remove(sender);
        reaches(context, members[sender], &room, &others, "EVT-10")?;
    }
    if context.run.lacks(ROSTER).is_some() {
        return Ok(());
    }
    roster_is("EVT-20", &members, &room, &members)
}

fn other_rooms(context: &Context) -> Outcome {
    let rooms: Vec<String> = (0..4).map(|_| context.room_name()).collect();
    let sender = context.member("sender")?;
    joins(&sender, &rooms[0])?;
    let receiver = context.watcher("receiver")?;
    joins(&receiver, &rooms[0])?;
    let mut others = vec![context.watcher("nowhere")?];
    for room in &rooms[1..] {
        let other = context.watcher(room)?;
        joins(&other, room)?;
        others.push(other);
    }
    let text = reaches(context, &sender, &rooms[0], &[&receiver], "EVT-10")?;
    others.iter().try_for_each(|other| does_not_reach(context, "EVT-11", other, &text))
}

fn order(context: &Context) -> Outcome {
    const MESSAGES: usize = 120;
    const MESSAGES_MIN: usize = 10;
    let room = context.room_name();
    let sender = context.member("sender")?;
    let members = [context.watcher("one")?, context.watcher("two")?, context.member("three")?];
    joins(&sender, &room)?;
    all_join(&members.each_ref(), &room)?;
    let text = |index: usize| {
        let long = if index % 7 == 3 { " and more".repeat(500) } else { String::new() };
        format!("{}{long}", context.fresh_text())
    };
    let texts: Vec<String> = (0..MESSAGES).map(text).collect();
    let asked = texts.iter().map(|text| sender.send_text(&room, text));
    let asked = asked.collect::<Result<Vec<u64>, ClientError>>()?;
    let mut accepted = Vec::new();
    for (text, id) in texts.into_iter().zip(asked) {
        if !sender.answer(id)?.is_refused {
            accepted.push(text);
        }
    }
    // A target may limit messages.
    let texts = accepted;
    if texts.len() < MESSAGES_MIN {
        return skip(format!("the target accepts {} messages of {MESSAGES}", texts.len()));
    }
    for (index, member) in members.iter().enumerate() {
        for text in &texts {
            arrives("EVT-10", &format!("member {index}"), member, text)?;
        }
        member.fence()?;
        let received = member.deliveries().into_iter().map(|delivered| delivered.text);
        let received: Vec<String> = received.filter(|text| texts.contains(text)).collect();
        let mut sorted = received.clone();
        sorted.sort();
        sorted.dedup();
        equal("EVT-10: the number of deliveries", &received.len(), &sorted.len())?;
        equal("EVT-14: the order of deliveries", &received, &texts)?;
    }
    Ok(())
}

fn equal_texts(context: &Context) -> Outcome {
    let room = context.room_name();
    let (one, two) = (context.member("one")?, context.watcher("two")?);
    let watcher = context.watcher("watcher")?;
    all_join(&[&one, &two, &watcher], &room)?;
    let text = context.fresh_text();
    for sender in [&one, &one, &two, &one] {
        is_accepted("the message", &sender.say(&room, &text)?)?;
    }
    let counted = |member: &Member, from: &str, wanted: usize| {
        context.eventually(&format!("EVT-15: {wanted} deliveries of {text:?} {from}"), || {
            Ok(member.count(&text) >= wanted)
        })
    };
    counted(&watcher, "to a third member", 4)?;
    counted(&two, "from the other session", 3)?;
    counted(&one, "from the other session", 1)?;
    watcher.fence()?;
    equal("EVT-15: the number of deliveries", &watcher.count(&text), &4)
}

fn outsider(context: &Context) -> Outcome {
    let room = context.room_name();
    let (outsider, member) = (context.member("outsider")?, context.watcher("member")?);
    let other = context.watcher("other")?;
    all_join(&[&member, &other], &room)?;
    let never = context.fresh_text();
    context.step("sends to a room that it has never joined");
    outsider.say(&room, &never)?;
    let mut texts = vec![never];
    if context.run.lacks(LEAVE).is_none() {
        context.step("joins, leaves, and sends again");
        joins(&outsider, &room)?;
        leaves(&outsider, &room)?;
        let left = context.fresh_text();
        outsider.say(&room, &left)?;
        texts.push(left);
    }
    reaches(context, &other, &room, &[&member], "EVT-10")?;
    for text in &texts {
        for session in [&member, &other, &outsider] {
            does_not_reach(context, "EVT-16", session, text)?;
        }
    }
    Ok(())
}

fn texts(context: &Context) -> Outcome {
    const LARGE: usize = 64 << 10;
    let room = context.room_name();
    let (guest, watcher) = (context.member("guest")?, context.watcher("watcher")?);
    all_join(&[&watcher, &guest], &room)?;
    // A message of the transport holds the text, its escapes and the event around it.
    let most = context.capabilities().max_payload.map_or(LARGE, |bytes| bytes as usize / 2);
    let large = "0123456789abcdé".repeat(LARGE.min(most) / 16);
    let texts = [
        "",
        " ",
        " with  blanks within and around it\t",
        "line\r\nline\n\nline\r",
        "日本語 العربية 👩‍👩‍👧 𝒳",
        "\u{feff}mark, \u{202e}right to left\u{202c}, \u{200b}no width\u{ad}, \u{e9} and e\u{301}",
        "\u{fffd}\u{fffe}\u{10ffff}",
        "007",
        "/help",
        "null",
        "%20+&amp;=%E2%82",
        "100%25",
        "$& $1 $$ :) __proto__ @all #1 *b* _i_ `c`",
        "{room}{text}$1\\u0041`${1}`",
        "\u{0}\u{1}\t\n\r\u{1e}\u{7f}\u{2028}",
        r#"{"room":"x","_placeholder":true,"num":0}"#,
        r#"\"quoted\" \\ 42["event"]"#,
        "<b>&amp;</b>",
        large.as_str(),
        "after the long one",
    ];
    for text in texts {
        let shown: String = text.chars().take(40).collect();
        context.step(format!("sends {shown:?} ({} bytes)", text.len()));
        if guest.say(&room, text)?.is_refused {
            continue;
        }
        arrives("EVT-17", "the other member", &watcher, text)?;
    }
    Ok(())
}
