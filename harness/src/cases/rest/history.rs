//! Chapter 9: rooms and history.

use crate::cases::prelude::*;

cases! {
    rooms "rest.rooms" ["REST-30"] over NONE needs CHAT_OF_NEW_USERS
        does "requests the list of rooms"
        expects "each with exactly id, name, online, seq and unread";
    history_shape "rest.history-shape" ["REST-40", "REST-46", "REST-43"] over NONE needs CHAT
        does "requests a page of history"
        expects "errno 0, rows of exactly nine fields, total and current";
    history_faults "rest.history-faults" ["REST-41", "REST-45"] over NONE needs CHAT
        does "requests history with invalid roomid and current, and beyond the end"
        expects "errno 1, or an empty page";
    history_pages "rest.history-pages" ["REST-42", "REST-43", "REST-44", "REST-45", "LIM-25"] over NONE needs CHAT
        does "reads 45 messages page by page while more are sent"
        expects "newest page first, each page ascending, 20 per page, every message once";
}

fn rooms(context: &Context) -> Outcome {
    let (room, guest) = guest_in_room(context)?;
    guest.say(room, "one")?;
    let other = context.user()?;
    let response = context.rest().get_as("/api/rooms", &other.token)?;
    let answer = response.json();
    has_exactly("the answer", &answer, &["errno", "rooms"])?;
    let rooms = answer["rooms"].as_array().cloned().unwrap_or_default();
    for entry in &rooms {
        has_exactly("a room", entry, &["id", "name", "online", "seq", "unread"])?;
    }
    let Some(entry) = rooms.iter().find(|entry| entry["id"] == json!(room)) else {
        return fail(format!("the room {room}"), format!("{} other rooms", rooms.len()));
    };
    let seq = context.base(room) + 1;
    has_fields(entry, json!({ "online": 1, "seq": seq, "unread": seq }))
}

fn history_shape(context: &Context) -> Outcome {
    let (room, guest) = guest_in_room(context)?;
    let said = guest.say(room, "for the records")?;
    let data = context.rest().history(&guest.user.token, room, 1, 0)?;
    has_exactly("data", &data, &["errno", "data", "total", "current"])?;
    let total = context.base(room) + 1;
    has_fields(&data, json!({ "errno": 0, "total": total, "current": 1 }))?;
    let row = last_row(&data);
    let fields = ["id", "userid", "username", "src", "msg", "img", "roomid", "time", "seq"];
    has_exactly("a row", row, &fields)?;
    let time = "2026-11-23T00:31:11.784Z";
    has_fields(row, json!({ "id": said["id"], "roomid": room, "time": time }))
}

fn history_faults(context: &Context) -> Outcome {
    let rest = context.rest();
    let (room, guest) = guest_in_room(context)?;
    guest.say(room, "only one")?;
    let token = &guest.user.token;
    let pages = ["", "&current=0", "&current=-1", "&current=x"];
    let pages = pages.map(|page| format!("roomid={room}{page}"));
    let rooms = ["current=1", "roomid=0&current=1", "roomid=x&current=1", "roomid=-1&current=1"];
    for query in rooms.map(str::to_owned).into_iter().chain(pages) {
        let answer = rest.get_as(&format!("/api/history/message?{query}&total=0"), token)?.json();
        require(answer == json!({ "data": { "errno": 1 } }), "errno 1", || {
            format!("{answer} for {query}")
        })?;
    }
    let answer = rest.history(token, unknown_room(room), 1, 0)?;
    let none = answer["errno"] == json!(1) || answer["data"] == json!([]);
    require(none, "errno 1 or no messages", || answer.to_string())?;
    let total = context.base(room) + 1;
    let beyond = rest.history(token, room, total.div_ceil(20) + 6, 0)?;
    equal("a page beyond the first message", &beyond["data"], &json!([]))?;
    let odd =
        rest.get_as(&format!("/api/history/message?roomid={room}&current=1&total=abc"), token)?;
    equal("total for a value that is not a number", &odd.json()["data"]["total"], &json!(total))?;
    let odd = rest.history(token, room, 1, 999_999)?;
    equal("total above the number of messages", &odd["total"], &json!(total))
}

fn history_pages(context: &Context) -> Outcome {
    let rest = context.rest();
    let (room, guest) = guest_in_room(context)?;
    for index in 1..=45 {
        guest.say(room, &format!("number {index}"))?;
    }
    let seqs = |data: &Value| -> Vec<u64> {
        let rows = data["data"].as_array().cloned().unwrap_or_default();
        rows.iter().filter_map(|row| row["seq"].as_u64()).collect()
    };
    // The seqs of the messages of this case are those after `base`, which may fill pages of their own.
    let base = context.base(room);
    let own = |from: u64, to: u64| (base + from..=base + to).collect::<Vec<u64>>();
    let first = rest.history(&guest.user.token, room, 1, 0)?;
    has_fields(&first, json!({ "total": base + 45 }))?;
    equal("page 1", &seqs(&first), &own(26, 45))?;
    guest.say(room, "one more")?;
    guest.say(room, "and another")?;
    let second = rest.history(&guest.user.token, room, 2, base + 45)?;
    equal("page 2 with the total of page 1", &seqs(&second), &own(6, 25))?;
    has_fields(&second, json!({ "current": 2 }))?;
    let third = rest.history(&guest.user.token, room, 3, base + 45)?;
    let oldest = (base + 5).saturating_sub(19).max(1);
    equal("page 3", &seqs(&third), &(oldest..=base + 5).collect())?;
    let beyond = (base + 45).div_ceil(20) + 1;
    let fourth = rest.history(&guest.user.token, room, beyond, base + 45)?;
    equal("the page behind the last", &fourth["data"], &json!([]))?;
    let fresh = rest.history(&guest.user.token, room, 1, 0)?;
    equal("page 1 again", &seqs(&fresh), &own(28, 47))?;
    equal("total, again", &fresh["total"], &json!(base + 47))
}
