//! Why Redis is down, for people.

/// The state machine's word while nothing has failed and the node has not joined.
pub(super) const JOINING: &str = "joining";

/// The cause for a word of the state machine.
pub(super) fn cause(why: &str) -> String {
    match why {
        JOINING => "this node has not joined the other nodes yet".to_owned(),
        // An answer that does not fit its order.
        "answer" => throng_redis::failure::cause("unexpected"),
        name => throng_redis::failure::cause(name),
    }
}
