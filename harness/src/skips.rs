//! Clauses without a case, each with the reason. A test reads this list: a clause that has
//! neither a case nor an entry fails the build.

/// Clause ids, and why a black box cannot check them here.
pub const SKIPS: &[(&[&str], &str)] = &[
    (
        &["TRN-61"],
        "Allowed origins are a setting of the operator, which a black-box test does not know.",
    ),
    (
        &["TRN-47"],
        "A permission for the server (MAY); the end-to-end tests check what is compressed.",
    ),
    (&["TRN-90"], "A permission for the server (MAY); the end-to-end tests load the files."),
    (
        &["TRN-81", "TRN-82", "TRN-83", "LIM-34"],
        "Needs a proxy that the operator has listed, or several client addresses; the server's own tests \
         and the end-to-end tests with nginx, Caddy and HAProxy check it.",
    ),
    (
        &["CHAT-66", "CHAT-99"],
        "A store failure cannot be caused from outside; the server's own tests cause it.",
    ),
    (
        &["CHAT-97"],
        "The bound is a setting of the operator, which a black-box test does not know; the server's own \
         tests check it.",
    ),
    (
        &["PRES-58"],
        "A permission for the server (MAY) under a load that would disturb every other case; the \
         benches measure it.",
    ),
    (
        &["PRES-59"],
        "A permission for the server (MAY) in rooms larger than a short run can fill; the server's \
         own tests check the order and the bound.",
    ),
    (
        &["LIM-13"],
        "Filling the limits of all sessions of a machine would disturb every other case, and the \
         defaults are above what one client address can open in a short run.",
    ),
    (
        &["LIM-36", "LIM-37"],
        "Permissions for the server (MAY): what they grant at least is less than what the cases of other \
         clauses send, and the server's own tests check its limits.",
    ),
    (
        &["LIM-89"],
        "A permission for the server (MAY) whose rate would hold up every other case; `abuse.replies.pages`, \
         `abuse.replies.handshakes` and `abuse.floods.logins` see whether others notice such requests.",
    ),
    (
        &["LIM-92"],
        "A permission for the server (MAY) about more requests than a case can hold without disturbing others; \
         `abuse.unfinished.polling-sessions` sees whether others notice held polls.",
    ),
    (
        &["LIM-38"],
        "A client cannot answer heartbeats inside a message, so those of most targets end the session \
         first; the server's own tests check the deadline.",
    ),
    (
        &["LIM-39"],
        "What a server keeps cannot be seen over the wire. The cases `abuse.*` see the memory of a target whose \
         process is named (`--server-pid`), and the server's own tests compare each kind of input with the \
         bounds.",
    ),
    (
        &["LIM-87", "LIM-88", "LIM-91", "REST-28"],
        "The defaults are more than a short run may send; the server's own tests lower them.",
    ),
    (
        &["REST-29"],
        "Needs more logins at once than a target computes in seconds, which would disturb every other case; \
         the server's own tests fill its queue.",
    ),
    (
        &["LIM-70"],
        "Filling the target's disk cannot be done from outside; the server's own tests raise the floor.",
    ),
    (
        &["REST-75", "REST-76", "REST-77"],
        "A fault of the storage or a hung thread cannot be caused from outside; the server's own tests \
         and the end-to-end fault tests cause them.",
    ),
    (
        &["LIM-41", "LIM-61"],
        "Needs an orderly stop of the target, which the harness does not control.",
    ),
    (
        &["LIM-57", "ERR-15", "CHAT-98"],
        "An obligation of the client; it does not apply to a server.",
    ),
    (&["CHAT-68"], "A permission for the operator (MAY): there is nothing to observe."),
    (
        &["NODE-12", "NODE-32", "NODE-35"],
        "A permission for the server (MAY): there is nothing to observe.",
    ),
    (
        &["NODE-11"],
        "A permission for the server (MAY): delayed updates must arrive, which NODE-4 and NODE-10 check.",
    ),
    (&["LIM-94"], "A permission for the server (MAY); the server's own tests check it."),
    (
        &["LIM-93"],
        "Needs a pause of the target, which the harness does not control; the server's own tests and the end-to-end \
         fault tests pause one.",
    ),
    (
        &["NODE-23"],
        "Needs a node paused for longer than its lease; the end-to-end fault tests pause one.",
    ),
    (
        &["NODE-30", "NODE-31", "NODE-33", "NODE-34"],
        "Needs an outage of the coordinator; the end-to-end fault tests cause every kind.",
    ),
    (&["NODE-36"], "Needs an outage of the coordinator; the end-to-end fault tests cause one."),
    (
        &[
            "RDS-1", "RDS-2", "RDS-3", "RDS-4", "RDS-5", "RDS-6", "RDS-7", "RDS-10", "RDS-11",
            "RDS-20", "RDS-21", "RDS-22", "RDS-23", "RDS-24",
        ],
        "Needs the Redis server of the target, which the harness cannot reach; the server's own tests \
         and the end-to-end tests check it.",
    ),
];

pub fn reason(clause: &str) -> Option<&'static str> {
    SKIPS.iter().find(|(ids, _)| ids.contains(&clause)).map(|(_, reason)| *reason)
}
