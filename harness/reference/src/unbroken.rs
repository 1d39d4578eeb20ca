//! Clauses that this server cannot be made to break, with the reason.

/// Clause ids, and why no mutant breaks them.
pub const UNBROKEN: &[(&[&str], &str)] = &[
    (&["EIO-35"], "The reference server has no binary data to send."),
    (
        &["SIO-13"],
        "On Engine.IO 3 a server never writes the socket id, so that another one would not be seen.",
    ),
    (
        &["LIM-12", "LIM-53"],
        "The reference server has no limit of the sessions of a user; throng serve has, and is run against it.",
    ),
    (
        &["LIM-17", "LIM-33", "PRES-52", "PRES-57"],
        "The reference server has no budgets, and is too slow to exceed those of the text.",
    ),
    (
        &[
            "EVT-1", "EVT-2", "EVT-3", "EVT-4", "EVT-5", "EVT-6", "EVT-7", "EVT-8", "EVT-9",
            "EVT-10", "EVT-11", "EVT-12", "EVT-13", "EVT-14", "EVT-15", "EVT-16", "EVT-17",
            "EVT-18", "EVT-20", "EVT-21", "EVT-22", "EVT-23", "EVT-24", "EVT-25",
        ],
        "About rooms of servers of others: the room server in calibration/ has twenty defects of that kind.",
    ),
];

/// Why no mutant breaks the clause, if none can.
pub fn reason(clause: &str) -> Option<&'static str> {
    UNBROKEN.iter().find(|(ids, _)| ids.contains(&clause)).map(|(_, reason)| *reason)
}
