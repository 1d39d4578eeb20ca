use proptest::prelude::*;

use super::*;

fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn card(user: u32, name: &str) -> Arc<UserCard> {
    let email = "secret@example.org".into();
    Arc::new(UserCard { id: UserId(user), email, name: name.into(), avatar: "/a.png".into() })
}

#[test]
fn a_message_has_this_encoding() {
    let message = StoredMessage {
        seq: Seq(7),
        id: 41,
        author: card(3, "Ada"),
        msg: "a \"quote\"".into(),
        img: "".into(),
        time: "now".into(),
    };
    let body = Body::Messages { room: RoomId(2), messages: vec![message] };
    let written = encode("a1.1", 5, &body);
    let json = r#"{"r":2,"m":[{"s":7,"i":41,"u":3,"n":"Ada","a":"/a.png","t":"a \"quote\"","g":"","d":"now"}]}"#;
    assert_eq!(written, fields(&[("n", "a1.1"), ("q", "5"), ("k", "m"), ("d", json)]));
}

#[test]
fn presence_has_this_encoding() {
    let body = Body::Present {
        room: RoomId(2),
        joined: vec![card(3, "Ada")],
        left: vec![(UserId(4), Seq(9))],
    };
    let json = r#"{"r":2,"j":[{"u":3,"n":"Ada","a":"/a.png"}],"l":[[4,9]]}"#;
    let written = encode("a1.1", 1, &body);
    assert_eq!(written, fields(&[("n", "a1.1"), ("q", "1"), ("k", "p"), ("d", json)]));
}

#[test]
fn choices_have_this_encoding() {
    let body = Body::Chosen(vec![(RoomId(2), UserId(3), Choice(5))]);
    let written = encode("a1.1", 1, &body);
    let json = r#"{"c":[[2,3,5]]}"#;
    assert_eq!(written, fields(&[("n", "a1.1"), ("q", "1"), ("k", "c"), ("d", json)]));
    assert_eq!(decode(&written, 1).expect("it was encoded").body, body);
}

#[test]
fn processes_whose_marks_are_raised_have_this_encoding() {
    let written = encode("a1.1", 2, &Body::MarksRaised(vec!["b2".into()]));
    assert_eq!(written, fields(&[("n", "a1.1"), ("q", "2"), ("k", "e"), ("d", r#"{"p":["b2"]}"#)]));
}

#[test]
fn fields_of_a_later_version_are_ignored() {
    let json = r#"{"t":[[1,5]],"new":true}"#;
    let read = fields(&[("z", "?"), ("n", "a.1"), ("q", "1"), ("k", "t"), ("d", json)]);
    let entry = decode(&read, 1).expect("the known fields are there");
    assert_eq!(entry.body, Body::Tips(vec![(RoomId(1), Seq(5))]));
}

#[test]
fn redis_numbers_from_the_first() {
    let json = r#"{"r":2,"m":[{"u":3,"n":"","a":"","t":"x","g":"","d":""},{"u":3,"n":"","a":"","t":"y","g":"","d":""}]}"#;
    let read = fields(&[("n", "a.1"), ("t", "8"), ("k", "m"), ("d", json), ("f", "20")]);
    let entry = decode(&read, 1).expect("the known fields are there");
    let Body::Messages { messages, .. } = entry.body else { panic!("not messages") };
    assert_eq!(messages.iter().map(|message| message.seq.0).collect::<Vec<_>>(), [20, 21]);
    let ids: Vec<i64> = messages.iter().map(|message| message.id).collect();
    assert_eq!(
        ids,
        [20_000_000_002, 21_000_000_002],
        "the same number in another room is another id"
    );
    assert_eq!((entry.q, entry.publish_id), (None, Some(8)));
    let over = fields(&[("n", "a.1"), ("k", "m"), ("d", json), ("f", "18446744073709551615")]);
    assert_eq!(decode(&over, 1), Err(Malformed));
}

#[test]
fn a_heartbeat_for_another_number_of_streams_is_malformed() {
    let written = encode("a.1", 1, &Body::Beat(vec![1, 2]));
    assert!(decode(&written, 2).is_ok());
    assert_eq!(decode(&written, 3), Err(Malformed));
}

#[test]
fn no_email_is_written() {
    let present = Body::Present { room: RoomId(1), joined: vec![card(1, "A")], left: vec![] };
    for (_, value) in encode("a.1", 1, &present) {
        assert!(!value.contains("secret"), "{value}");
    }
    assert_eq!(encode_card(&card(1, "A")), r#"{"name":"A","avatar":"/a.png"}"#);
}

fn body() -> impl Strategy<Value = Body> {
    let user = || any::<u32>().prop_map(UserId);
    let room = || any::<u32>().prop_map(RoomId);
    let seq = || any::<u64>().prop_map(Seq);
    let card = || {
        (any::<u32>(), ".*", ".*").prop_map(|(user, name, avatar)| {
            let (id, email) = (UserId(user), Box::default());
            Arc::new(UserCard { id, email, name: name.into(), avatar: avatar.into() })
        })
    };
    let message = (seq(), any::<i64>(), card(), ".*", ".*", ".*").prop_map(
        |(seq, id, author, msg, img, time)| {
            let (msg, img, time) = (msg.into(), img.into(), time.into());
            StoredMessage { seq, id, author, msg, img, time }
        },
    );
    prop_oneof![
        (room(), prop::collection::vec(message, 0..3))
            .prop_map(|(room, messages)| Body::Messages { room, messages }),
        prop::collection::vec((room(), seq()), 0..3).prop_map(Body::Tips),
        (room(), prop::collection::vec(card(), 0..3), prop::collection::vec((user(), seq()), 0..3))
            .prop_map(|(room, joined, left)| Body::Present { room, joined, left }),
        prop::collection::vec((room(), user(), any::<u32>().prop_map(Choice)), 0..3)
            .prop_map(Body::Chosen),
        prop::collection::vec(user(), 0..3).prop_map(Body::Changed),
        prop::collection::vec(user(), 0..3).prop_map(Body::Freed),
        prop::collection::vec(any::<[u8; 32]>().prop_map(TokenHash), 0..3).prop_map(Body::Revoked),
        prop::collection::vec("[0-9a-f]{16}", 0..3).prop_map(Body::MarksRaised),
        Just(Body::Registry),
        prop::collection::vec(any::<u64>(), 2).prop_map(Body::Beat),
    ]
}

proptest! {
    #[test]
    fn an_encoded_entry_decodes_to_itself(body in body(), q in any::<u64>()) {
        let entry = Entry { incarnation: "ab12.3".into(), q: Some(q), publish_id: None, body };
        prop_assert_eq!(decode(&encode("ab12.3", q, &entry.body), 2), Ok(entry));
    }

    #[test]
    fn no_input_makes_the_decoder_panic(
        kind in "[mtpuvfesh]", data in ".*", first in ".*", q in ".*", is_numbered in any::<bool>(),
    ) {
        let mut read = fields(&[("n", "a.1"), ("q", &q), ("k", &kind), ("d", &data)]);
        if is_numbered {
            read.push(("f".into(), first));
        }
        let _ = decode(&read, 2);
    }
}
