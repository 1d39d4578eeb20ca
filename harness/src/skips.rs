//! Clauses without a case, each with the reason. A test reads this list: a clause that has
//! neither a case nor an entry fails the build.

const REDIS: &str = "Needs the Redis server of the target, which the harness cannot reach; the \
                     server's own tests and the end-to-end tests check it.";

/// Clause id, and why a black box cannot check it here.
pub const SKIPS: &[(&str, &str)] = &[
    (
        "TRN-61",
        "Allowed origins are a setting of the operator, which a black-box test does not know.",
    ),
    ("CHAT-66", "A store failure cannot be caused from outside; the server's own tests cause it."),
    (
        "CHAT-67",
        "Needs a restart of the target, which the harness does not control; the end-to-end tests kill \
         and restart the server.",
    ),
    ("CHAT-68", "A permission for the operator (MAY): there is nothing to observe."),
    ("CHAT-83", "Needs a restart of the target, which the harness does not control."),
    (
        "PRES-58",
        "A permission for the server (MAY) under a load that would disturb every other case; the \
         benches measure it.",
    ),
    (
        "PRES-59",
        "A permission for the server (MAY) in rooms larger than a short run can fill; the server's \
         own tests check the order and the bound.",
    ),
    ("UNR-14", "Needs a restart of the target, which the harness does not control."),
    (
        "LIM-13",
        "Filling the limits of all sessions of a machine would disturb every other case, and the \
         defaults are above what one client address can open in a short run.",
    ),
    (
        "LIM-32",
        "A new connection may go to another thread, which has no record of the old one; the server's own \
         tests check it on one thread.",
    ),
    ("LIM-41", "Needs an orderly stop of the target, which the harness does not control."),
    ("LIM-57", "An obligation of the client; it does not apply to a server."),
    ("LIM-61", "Needs an orderly stop of the target, which the harness does not control."),
    ("RDS-1", REDIS),
    ("RDS-2", REDIS),
    ("RDS-3", REDIS),
    ("RDS-4", REDIS),
    ("RDS-5", REDIS),
    ("RDS-6", REDIS),
    ("RDS-7", REDIS),
    ("RDS-10", REDIS),
    ("RDS-11", REDIS),
    ("RDS-20", REDIS),
    ("RDS-21", REDIS),
    ("RDS-22", REDIS),
    ("RDS-23", REDIS),
    ("RDS-24", REDIS),
    (
        "NODE-11",
        "A permission for the server (MAY): delayed updates must arrive, which NODE-4 and NODE-10 check.",
    ),
    ("NODE-12", "A permission for the server (MAY): there is nothing to observe."),
    (
        "NODE-23",
        "Needs a node paused for longer than its lease; the end-to-end fault tests pause one.",
    ),
    ("NODE-30", "Needs an outage of the coordinator; the end-to-end fault tests cause every kind."),
    ("NODE-31", "Needs an outage of the coordinator; the end-to-end fault tests cause every kind."),
    ("NODE-32", "A permission for the server (MAY): there is nothing to observe."),
    ("NODE-33", "Needs an outage of the coordinator; the end-to-end fault tests cause every kind."),
    ("NODE-34", "Needs an outage of the coordinator; the end-to-end fault tests cause every kind."),
    ("NODE-35", "A permission for the server (MAY): there is nothing to observe."),
    ("NODE-36", "Needs an outage of the coordinator; the end-to-end fault tests cause one."),
    ("ERR-15", "An obligation of the client; it does not apply to a server."),
];

pub fn reason(clause: &str) -> Option<&'static str> {
    SKIPS.iter().find(|(id, _)| *id == clause).map(|(_, reason)| *reason)
}
