use super::*;

fn event_data(json: &str) -> EventData {
    EventData::parse(json).expect("an event")
}

/// As it comes from the engine, which takes pictures out of long events.
fn parse(data: &str) -> ClientEvent {
    let found = if data.len() > 1000 { image::find(data) } else { None };
    let (data, omitted) = match found {
        Some(range) => {
            let text = Bytes::copy_from_slice(data[range.clone()].as_bytes());
            let rest = [&data[..range.start], &data[range.end..]].concat();
            (rest, Some(Omitted::Text { at: range.start, text }))
        }
        None => (data.to_owned(), None),
    };
    ClientEvent::parse(event_data(&data), omitted, Some(1), false, 1000)
}

#[test]
fn a_message_is_understood_with_what_follows_it_ignored() {
    let event = parse(r#"["message",{"roomid":"7","msg":"a\n\u00e9","junk":[{}]},{"msg":2},null]"#);
    let Ok(ClientRequest::Message(message)) = event.request else { panic!("{event:?}") };
    assert_eq!((message.room, &*message.msg), (RoomId(7), "a\n\u{e9}"));
    assert!(message.img.is_empty());
    assert_eq!(message.time, None);
}

#[test]
fn space_around_the_arguments_changes_nothing() {
    for data in [
        r#" [ "room" , {"roomid":3} ] "#,
        "[\"room\",\t{\"roomid\":3}]",
        "[\"room\"\n,{\"roomid\":3}\n]",
    ] {
        let event = parse(data);
        assert!(
            matches!(event.request, Ok(ClientRequest::Join { room: RoomId(3), .. })),
            "{data}: {event:?}"
        );
    }
}

#[test]
fn no_argument_counts_as_an_empty_object() {
    assert!(matches!(parse(r#"["login"]"#).request, Ok(ClientRequest::Login { wanted: WantedCounts::Rooms })));
    let fault = RequestError::Argument(Refusal::InvalidArgument);
    assert_eq!(parse(r#"["room"]"#).request.unwrap_err(), fault);
}

#[test]
fn faults_say_whether_the_sender_matters() {
    for (data, fault) in [
        (r#"["dance",{"api_token":5}]"#, RequestError::Event(Refusal::UnknownEvent)),
        (r#"[7,{}]"#, RequestError::Event(Refusal::UnknownEvent)),
        (r#"["login",[]]"#, RequestError::Event(Refusal::InvalidArgument)),
        (r#"["login",null]"#, RequestError::Event(Refusal::InvalidArgument)),
        (r#"["room",{"roomid":1,"roomid":2}]"#, RequestError::Event(Refusal::InvalidArgument)),
        (
            r#"["room",{"roomid":1,"api_token":"short"}]"#,
            RequestError::Event(Refusal::Unauthenticated),
        ),
        (r#"["room",{"roomid":0}]"#, RequestError::Argument(Refusal::InvalidArgument)),
        (r#"["message",{"roomid":1,"msg":5}]"#, RequestError::Argument(Refusal::InvalidArgument)),
    ] {
        assert_eq!(parse(data).request.unwrap_err(), fault, "{data}");
    }
}

#[test]
fn only_pictures_may_be_longer_than_an_event() {
    let long = "x".repeat(1000);
    let event = parse(&format!(r#"["message",{{"roomid":1,"msg":"{long}"}}]"#));
    assert_eq!(event.request.unwrap_err(), RequestError::Event(Refusal::TooLarge));
    let picture = format!("data:image/png;base64,{long}");
    let event = parse(&format!(r#"["message",{{"msg":"a","img":"{picture}","roomid":1}},2]"#));
    let Ok(ClientRequest::Message(message)) = event.request else { panic!("{event:?}") };
    assert_eq!((message.room, &*message.msg), (RoomId(1), "a"));
    assert!(
        matches!(&message.img, Img::Literal(inside) if **inside == picture.as_bytes()["data:".len()..])
    );
    let arguments = Some(Omitted::Arguments);
    let event =
        ClientEvent::parse(event_data(r#"["message"]"#), arguments.clone(), None, false, 1000);
    assert_eq!(event.request.unwrap_err(), RequestError::Event(Refusal::TooLarge));
    let event =
        ClientEvent::parse(event_data(r#"["message"]"#), arguments.clone(), None, true, 1000);
    assert_eq!(event.request.unwrap_err(), RequestError::Event(Refusal::BinaryUnsupported));
    let event = ClientEvent::parse(event_data(r#"["dance"]"#), arguments, None, false, 1000);
    assert_eq!(event.request.unwrap_err(), RequestError::Event(Refusal::UnknownEvent));
    for not_a_picture in [
        format!(r#"["room",{{"roomid":1,"img":"{picture}"}}]"#),
        // Not the `img` of the first argument.
        format!(r#"["message",{{"roomid":1,"msg":"{picture}","img":"data:"}}]"#),
        format!(r#"["message",{{"roomid":1,"junk":{{"img":"{picture}"}}}}]"#),
        format!(r#"["message",{{"roomid":1,"img":"data:"}},{{"img":"{picture}"}}]"#),
        format!(r#"["message",{{"roomid":1,"img":"data:{long}"}}]"#),
        // With something else that is too long.
        format!(r#"["message",{{"roomid":1,"img":"{picture}","msg":"{long}"}}]"#),
        format!(r#"["message",{{"roomid":1,"img":"{picture}","msg":"{picture}"}}]"#),
    ] {
        let event = parse(&not_a_picture);
        let too_large = RequestError::Event(Refusal::TooLarge);
        assert_eq!(event.request.unwrap_err(), too_large, "{not_a_picture}");
    }
}

#[test]
fn a_long_unknown_name_is_cut() {
    let name = "\u{e9}".repeat(100);
    let event = parse(&format!(r#"["{name}"]"#));
    assert_eq!(event.name.as_str().chars().count(), NAME_CHARS_MAX);
}
