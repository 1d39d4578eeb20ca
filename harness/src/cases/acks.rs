//! Chapter 3: acknowledgements.

use super::prelude::*;

cases! {
    once "ack.once" ["SIO-40", "SIO-42", "SIO-43"] over EVERY needs APPLICATION
        does "requests 30 acks, some with repeated ids, and sends events without id in between"
        expects "one ack for each event with an id, none for the others";
    shape "ack.shape" ["SIO-41", "CHAT-16", "CHAT-24", "CHAT-34", "CHAT-64"] over EVERY needs CHAT
        does "requests acks for login, room, message and roomout"
        expects "one object each, with ok: true and the fields of that event";
    from_client "ack.from-client" ["SIO-45"] over EVERY needs NOTHING
        does "sends unsolicited acks"
        expects "they are ignored";
    more_arguments "ack.more-arguments" ["SIO-46"] over EVERY needs CHAT
        does "sends events with additional arguments"
        expects "the additional arguments are ignored";
    reserved_names "ack.reserved-names" ["SIO-47"] over EVERY needs CHAT
        does "sends events with reserved names"
        expects "unknown_event, or the session is closed";
}

fn once(context: &Context) -> Outcome {
    let (socket, name) = asking_socket(context)?;
    let ids: Vec<u64> = (0..15).chain([3, 3, 14, 0]).chain(100..111).collect();
    for &id in &ids {
        socket.send_packet(&sio::Packet::event(name, &[json!({})]).with_id(id))?;
        if id % 3 == 0 {
            socket.emit(name, &[json!({})])?;
        }
    }
    socket.wait_ack(110, context.wait())?;
    context.pause(QUIET);
    let mut observed: Vec<u64> = socket.acks().iter().map(|(id, ..)| *id).collect();
    let mut wanted = ids;
    observed.sort_unstable();
    wanted.sort_unstable();
    equal("the ids of the acknowledgements", &observed, &wanted)
}

fn shape(context: &Context) -> Outcome {
    let room = context.room()?;
    let guest = context.guest("guest")?;
    let login = guest.ask("login", json!({}))?;
    has_exactly("the ack of login", &login, &["ok", "user", "count"])?;
    has_exactly("user", &login["user"], &["id", "name", "avatar"])?;
    equal("user.id", &login["user"]["id"], &json!(guest.user.id))?;
    let joined = guest.join(room)?;
    let seq = context.base(room);
    let wanted = json!({ "ok": true, "room": room, "online": 1, "seq": seq });
    equal("the ack of room", &joined, &wanted)?;
    let said = guest.say(room, "hello")?;
    has_exactly("the ack of message", &said, &["ok", "id", "seq"])?;
    let event = guest.message_with("hello")?;
    has_fields(&event, json!({ "id": said["id"], "seq": said["seq"] }))?;
    let left = guest.leave(room)?;
    let wanted = json!({ "ok": true, "room": room, "online": 0, "seq": seq + 1 });
    equal("the ack of roomout", &left, &wanted)?;
    let all: Vec<Value> = guest.socket.acks().into_iter().map(|(_, data, _)| data).collect();
    let is_single = |data: &Value| data.as_array().is_some_and(|args| args.len() == 1);
    require(all.iter().all(is_single), "one argument each", || shown(&all))
}

fn from_client(context: &Context) -> Outcome {
    let socket = context.socket()?;
    for text in ["30[]", "3999[{\"ok\":true}]", "31[1,2,3]"] {
        socket.send_message(text)?;
    }
    goes_on(context, &socket)
}

fn more_arguments(context: &Context) -> Outcome {
    let room = context.room()?;
    let guest = context.guest("guest")?;
    let more = [json!({ "roomid": room }), json!("x"), json!([1, { "roomid": 2 }]), json!(null)];
    let answer = guest.socket.ask("room", &more, context.wait())?;
    accepts(&answer)?;
    has_fields(&answer, json!({ "room": room }))?;
    let more = [message(room, "one"), message(room, "two")];
    accepts(&guest.socket.ask("message", &more, context.wait())?)?;
    guest.say_to(&guest, room, "three")?;
    equal("the messages", &guest.texts(room), &["one", "three"].map(str::to_owned).to_vec())
}

fn reserved_names(context: &Context) -> Outcome {
    for name in RESERVED_NAMES {
        let (room, guest) = guest_in_room(context)?;
        match guest.ask(name, json!({})) {
            Ok(answer) => {
                refuses(&answer, "unknown_event")?;
                accepts(&guest.say(room, "still a member")?)?;
            }
            Err(_) => {
                // The POST may be refused before the poll shows the end.
                let ended = guest.socket.wait_end(Duration::from_secs(2)).is_some();
                require(ended, "unknown_event, or a close", || format!("{name} is not answered"))?;
            }
        }
    }
    Ok(())
}
