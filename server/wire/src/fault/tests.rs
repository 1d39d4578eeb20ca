use super::Fault;

#[test]
fn close_codes_are_those_of_the_protocol_text() {
    // LIM-40, as far as a fault on the wire can be the cause.
    assert_eq!(Fault::Unmasked.close_code(), 1002);
    assert_eq!(Fault::TextNotUtf8.close_code(), 1007);
    assert_eq!(Fault::PacketTypeUnknown.close_code(), 1008);
    assert_eq!(Fault::JsonInvalid.close_code(), 1008);
    assert_eq!(Fault::MessageTooLarge.close_code(), 1009);
}
