//! Chapter 3: Socket.IO disconnect.

use super::prelude::*;

cases! {
    leaves "dis.leaves" ["SIO-60", "SIO-61", "CHAT-80", "CHAT-50"] over EVERY needs CHAT
        does "sends 41 from a session in a room"
        expects "the other members see the user leave, and 41 is not answered";
    then_close "dis.then-close-by-post" ["SIO-62"] over POLLING needs NOTHING
        does "posts 41 and then the close packet"
        expects "ok for both";
    silent_afterwards "dis.silent-afterwards" ["SIO-64", "SIO-61"] over EVERY needs CHAT
        does "sends 41, then events, while another member sends messages in the room"
        expects "no packet arrives and no event takes effect";
    lingering "dis.lingering" ["SIO-63", "LIM-52"] over WEBSOCKET needs NOTHING
        does "sends 41 and keeps the connection open"
        expects "the session is closed with code 4003 within the connect timeout";
    elsewhere "dis.elsewhere" ["SIO-65"] over EVERY needs NOTHING
        does "sends 41 for a namespace that is not connected"
        expects "it is ignored";
    still_member "dis.elsewhere-stays-member" ["SIO-65"] over EVERY needs CHAT
        does "sends 41 for a namespace that is not connected as a member of a room"
        expects "the session is still a member";
}

fn leaves(context: &Context) -> Outcome {
    let (room, guest, witness) = guest_and_witness_met(context)?;
    guest.event("room")?;
    let before = events_of_rooms(&guest.socket);
    guest.socket.disconnect()?;
    sees_leave(&witness, room, &[witness.user.id])?;
    context.pause(QUIET);
    equal("events for the session that left", &events_of_rooms(&guest.socket), &before)?;
    no_packet("no answer to 41", &guest.socket, |packet| packet.kind == sio::Kind::Disconnect)
}

/// The number of events about the session's own rooms: unread numbers may arrive at any time.
fn events_of_rooms(socket: &Socket) -> usize {
    socket.events().iter().filter(|event| event.name != "count").count()
}

fn then_close(context: &Context) -> Outcome {
    let poller = context.poller()?;
    poller.connect()?;
    status(&poller.post_message("1")?, 200)?;
    context.pause(Duration::from_millis(100));
    is_ok(&poller.post_packets(&[Packet::text(Kind::Close, "")])?)
}

fn silent_afterwards(context: &Context) -> Outcome {
    let (room, guest, witness) = guest_and_witness(context)?;
    guest.socket.disconnect()?;
    witness.roster_of(room, &[witness.user.id])?;
    // Packets that were on their way when 41 was sent do not count.
    context.pause(QUIET);
    let (events, acks) = (guest.socket.event_count(), guest.socket.acks().len());
    let _ = guest.socket.emit_with_id("room", &[json!({ "roomid": room })]);
    let _ = guest.emit("message", message(room, "after 41"));
    witness.say(room, "still here")?;
    context.pause(QUIET * 2);
    equal("events after 41", &guest.socket.event_count(), &events)?;
    equal("acks after 41", &guest.socket.acks().len(), &acks)?;
    equal("the messages received", &witness.texts(room), &vec!["still here".to_owned()])
}

fn lingering(context: &Context) -> Outcome {
    let socket = context.socket()?;
    socket.disconnect()?;
    match socket.wait_end(connect_timeout(context)) {
        Some(ending) => code_is(context, ending.code, 4003),
        None => outlives_connect_timeout(context),
    }
}

fn elsewhere(context: &Context) -> Outcome {
    let socket = context.socket()?;
    socket.send_message("1/other,")?;
    goes_on(context, &socket)
}

fn still_member(context: &Context) -> Outcome {
    let (room, guest) = guest_in_room(context)?;
    guest.socket.send_message("1/other,")?;
    accepts(&guest.say(room, "still a member")?)
}
