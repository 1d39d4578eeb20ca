//! Chapter 3: binary packets.

use super::prelude::*;

cases! {
    stray_binary "bin.stray" ["SIO-51", "LIM-43"] over EVERY needs NOTHING
        does "sends binary data without a binary event"
        expects "the session is closed, on WebSocket with code 1003";
    interrupted "bin.interrupted" ["SIO-52"] over EVERY needs NOTHING
        does "sends an event where an attachment is expected"
        expects "the session is closed with code 1008";
    bad_counts "bin.bad-counts" ["SIO-53", "LIM-14", "SIO-54"] over EVERY needs NOTHING
        does "sends binary events without count, with letters, with 1000, and with placeholders out of range"
        expects "the session is closed with code 1008 for each";
    ten_attachments "bin.ten" ["LIM-14", "SIO-50", "SIO-55"] over EVERY needs CHAT
        does "sends a binary event with ten attachments"
        expects "binary_unsupported after the tenth attachment";
    unsupported "bin.unsupported" ["SIO-55", "ERR-2"] over EVERY needs CHAT
        does "sends `message` and other binary events, with and without ack id"
        expects "binary_unsupported, no delivery, and the session stays usable";
    heartbeat_between "bin.heartbeat-between" ["SIO-56"] over EVERY needs CHAT
        does "sends heartbeats between a binary event and its attachment"
        expects "both are handled";
}

fn stray_binary(context: &Context) -> Outcome {
    let socket = context.socket()?;
    let _ = socket.send_engine(&Packet::binary([1, 2, 3]));
    ends_with(context, &socket, 1003)
}

fn interrupted(context: &Context) -> Outcome {
    let socket = context.socket()?;
    socket.send_message("51-[\"message\",{\"_placeholder\":true,\"num\":0}]")?;
    let _ = socket.send_message("2[\"message\",{}]");
    ends_with(context, &socket, 1008)
}

fn bad_counts(context: &Context) -> Outcome {
    let placeholder = |num: &str| format!("{{\"_placeholder\":true,\"num\":{num}}}");
    let counts = ["5", "5-", "5x-", "51000-", "511-"].map(|count| (count, "0"));
    let nums = ["1", "-1", "0.5", "\"0\"", "null", "18446744073709551615"].map(|num| ("51-", num));
    let nums = nums.into_iter().filter(|_| context.judges("SIO-54"));
    for (count, num) in counts.into_iter().chain(nums) {
        dies_of(context, &format!("{count}[\"message\",{}]", placeholder(num)), true)?;
    }
    Ok(())
}

fn ten_attachments(context: &Context) -> Outcome {
    let guest = context.guest("guest")?;
    let list: Vec<Value> = (0..10).map(|num| json!({ "_placeholder": true, "num": num })).collect();
    let head = format!("510-5[\"message\",{}]", json!({ "files": list }));
    guest.socket.send_binary(&head, &[&[7; 10][..]; 10])?;
    refuses(&guest.socket.wait_ack(5, context.wait())?, "binary_unsupported")
}

fn unsupported(context: &Context) -> Outcome {
    let (room, guest, witness) = guest_and_witness(context)?;
    let img = json!({ "_placeholder": true, "num": 0 });
    let arg = json!({ "msg": "with binary", "img": img, "roomid": room });
    for (index, name) in throng_spec::client_events().enumerate() {
        // Ids that no helper of this session used.
        let id = 1_000 + index as u64;
        guest.socket.send_binary(&format!("51-{id}[\"{name}\",{arg}]"), &[&[1, 2, 3]])?;
        refuses(&guest.socket.wait_ack(id, context.wait())?, "binary_unsupported")?;
    }
    guest.socket.send_binary(&format!("51-[\"message\",{arg}]"), &[&[1, 2, 3]])?;
    let error = guest.event("chat_error")?;
    has_fields(error.arg(0), json!({ "code": "binary_unsupported", "event": "message" }))?;
    guest.say_to(&witness, room, "plain")?;
    equal("the messages received", &witness.messages(room).len(), &1)
}

fn heartbeat_between(context: &Context) -> Outcome {
    let guest = context.guest("guest")?;
    guest.socket.send_message("51-77[\"message\",{\"_placeholder\":true,\"num\":0}]")?;
    match guest.socket.protocol() {
        Protocol::Eio3 => {
            guest.socket.send_engine(&Packet::text(Kind::Ping, "between"))?;
            let pong = guest.socket.wait_engine(context.wait(), Kind::Pong)?;
            equal("the pong", &pong, &"between".to_owned())?;
        }
        Protocol::Eio4 => guest.socket.send_engine(&Packet::text(Kind::Pong, ""))?,
    }
    guest.socket.send_engine(&Packet::binary([5]))?;
    refuses(&guest.socket.wait_ack(77, context.wait())?, "binary_unsupported")
}
