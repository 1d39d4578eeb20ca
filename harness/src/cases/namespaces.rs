//! Chapter 3: namespaces.

use super::prelude::*;
use crate::client::transcript::Direction;

cases! {
    packet_form "sio.packet-form" ["SIO-1", "SIO-3", "SIO-4", "SIO-2", "SIO-36"] over EVERY needs NOTHING
        does "connects to namespaces with and without query and comma"
        expects "the namespace ends at the comma, the query is not part of it, and / is never written";
    namespace_refused "sio.namespace-refused" ["SIO-30", "SIO-35"] over EIO4 needs NOTHING
        does "connects to /custom-nope before and after /"
        expects "CONNECT_ERROR with {\"message\":\"Invalid namespace\"}, and / can still be connected";
    eio3_namespace_refused "sio.eio3-namespace-refused" ["SIO-31", "SIO-36", "SIO-37"] over EIO3 needs NOTHING
        does "connects to another namespace"
        expects "44/…,\"Invalid namespace\", and the session stays usable";
    event_elsewhere "sio.event-elsewhere" ["SIO-32", "SIO-38"] over EIO4 needs NOTHING
        does "sends an EVENT and an ACK to a namespace that is not connected"
        expects "the session is closed";
    eio3_event_elsewhere "sio.eio3-event-elsewhere" ["SIO-33"] over EIO3 needs NOTHING
        does "sends an EVENT to a namespace that is not connected"
        expects "it is ignored, or the session is closed; it is not answered";
    long_namespace "sio.long-namespace" ["SIO-34"] over EVERY needs NOTHING
        does "connects to a namespace of 50000 characters"
        expects "the refusal contains at most 256 characters of it";
}

fn packet_form(context: &Context) -> Outcome {
    let socket = context.socket()?;
    let mut connects = vec![("0/a,", "/a"), ("0/b", "/b"), ("0/d/e-f,", "/d/e-f")];
    if context.judges("SIO-36") {
        connects.push(("0/c?x=1&y=2,", "/c"));
    }
    for (text, namespace) in connects {
        socket.send_message(text)?;
        socket.wait_packet(context.wait(), &format!("the answer for {namespace}"), |packet| {
            packet.namespace == namespace && packet.kind == sio::Kind::ConnectError
        })?;
    }
    let lines = context.transcript.lines();
    let explicit = lines.iter().find(|line| {
        line.direction == Direction::Received
            && ["40/,", "42/,", "43/,", "44/,"].iter().any(|form| line.text.contains(form))
    });
    nothing("no packet names the namespace /", explicit)
}

/// CONNECT with this text is refused for the namespace.
fn refuses_connect(
    context: &Context,
    socket: &Socket,
    text: &str,
    namespace: &str,
    refusal: Option<Value>,
) -> Outcome {
    socket.send_message(text)?;
    let what = match &refusal {
        Some(refusal) => format!("CONNECT_ERROR for {namespace} with {refusal}"),
        None => format!("CONNECT_ERROR for {namespace}"),
    };
    socket.wait_packet(context.wait(), &what, |packet| {
        packet.kind == sio::Kind::ConnectError
            && packet.namespace == namespace
            && (refusal.is_none() || packet.data == refusal)
    })?;
    Ok(())
}

fn namespace_refused(context: &Context) -> Outcome {
    let options = Options { connects: false, ..context.options() };
    let socket = context.socket_with(options)?;
    let refusal = Some(json!({ "message": "Invalid namespace" }));
    refuses_connect(context, &socket, "0/custom-nope,", "/custom-nope", refusal.clone())?;
    socket.send_message(context.connect_text()?)?;
    context.eventually("CONNECT for / is answered", || Ok(socket.id() != socket.open().sid))?;
    let text = "0/after-nope,{\"token\":\"x\"}";
    refuses_connect(context, &socket, text, "/after-nope", refusal)?;
    stays_open("the session stays open", &socket)
}

fn eio3_namespace_refused(context: &Context) -> Outcome {
    let socket = context.socket()?;
    let refusal = context.judges("SIO-37").then(|| json!("Invalid namespace"));
    refuses_connect(context, &socket, "0/custom-nope,", "/custom-nope", refusal.clone())?;
    if context.judges("SIO-36") {
        refuses_connect(context, &socket, "0/admin?x=1,", "/admin", refusal)?;
    }
    stays_open("the session stays open", &socket)
}

fn event_elsewhere(context: &Context) -> Outcome {
    for text in ["2/nope,[\"message\",{}]", "3/nope,1[]"] {
        dies_of(context, text, true)?;
    }
    if context.judges("SIO-38") {
        dies_of(context, "51-/nope,[\"a\",{\"_placeholder\":true,\"num\":0}]", true)?;
    }
    Ok(())
}

fn eio3_event_elsewhere(context: &Context) -> Outcome {
    let socket = context.socket()?;
    // By polling the POST itself may be refused.
    let _ = socket.send_message("2/nope,7[\"message\",{}]");
    context.pause(QUIET);
    no_packet("no answer", &socket, |packet| packet.namespace == "/nope")?;
    nothing(
        "no acknowledgement",
        socket.acks().first().map(|(id, answer, _)| (*id, answer.clone())),
    )
}

fn long_namespace(context: &Context) -> Outcome {
    let socket = context.known_socket()?;
    let name = format!("/{}", "n".repeat(50_000));
    socket.send_message(format!("0{name},"))?;
    let answer = socket.wait_packet(context.wait(), "the refusal", |packet| {
        packet.kind == sio::Kind::ConnectError
    })?;
    let named = answer.namespace.chars().count();
    require(named <= 256, "a namespace of at most 256 characters", || {
        format!("{named} characters")
    })?;
    require(name.starts_with(&answer.namespace), "the first characters of it", || {
        answer.namespace.clone()
    })
}
