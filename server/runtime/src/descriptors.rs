//! The limit of open files, and how many connections it leaves: open ones, and those that linger behind an early
//! answer and are counted no more.

use std::fmt;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors reserved, in equal parts, for connections that linger, for files that are sent to clients that do not
/// read them, and for the database, files that are written and the server's own needs; two thirds of all at most.
const RESERVED: u64 = 3072;
/// Connections that linger at once, where there are descriptors for so many.
const LINGERING_MAX: u32 = 1024;

/// How many connections may be open, and what says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionBound {
    /// `limits.connections_max`, or how many the admin address has.
    pub configured: u32,
    /// What that is, for the log.
    setting: &'static str,
    /// The limit of open files, where it leaves fewer.
    pub open_files: Option<u64>,
    /// Connections that may linger besides, and as many others that may be idle with a file: a third of what is
    /// reserved at most.
    pub lingering: u32,
}

impl ConnectionBound {
    /// `open_files`: their limit; `None` if there is none.
    fn new(configured: u32, open_files: Option<u64>) -> ConnectionBound {
        let connections = open_files.map_or(configured, |files| left_by(files).min(configured));
        let spare = open_files.map(|files| files - files.min(connections.into()));
        let lingering = spare.map_or(LINGERING_MAX, |spare| at_most(LINGERING_MAX, spare / 3));
        let open_files = open_files.filter(|files| left_by(*files) < configured);
        ConnectionBound { configured, setting: "limits.connections_max", open_files, lingering }
    }

    /// Of the admin address, which has its own.
    pub(crate) fn of_admin(connections: u32) -> ConnectionBound {
        let setting = "the number of connections to the admin address";
        ConnectionBound { setting, ..ConnectionBound::from(connections) }
    }

    /// What bounds, for the log.
    pub fn limit(&self) -> &'static str {
        match self.open_files {
            Some(_) => "the limit of open files",
            None => self.setting,
        }
    }

    /// Few enough that the kernel never refuses a descriptor.
    pub fn connections(&self) -> u32 {
        self.open_files.map_or(self.configured, left_by)
    }
}

impl From<u32> for ConnectionBound {
    fn from(configured: u32) -> ConnectionBound {
        ConnectionBound::new(configured, None)
    }
}

/// For the operator: which limit bounds, and how it is raised.
impl fmt::Display for ConnectionBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (configured, connections) = (self.configured, self.connections());
        match self.open_files {
            Some(files) => write!(
                f,
                "limits.connections_max is {configured}, but the limit of open files, {files}, leaves \
                 {connections} connections; raise it (ulimit -Hn, LimitNOFILE of systemd) or lower the setting"
            ),
            None => write!(f, "limits.connections_max is {configured}"),
        }
    }
}

fn left_by(open_files: u64) -> u32 {
    let reserved = RESERVED.min(open_files * 2 / 3);
    at_most(u32::MAX, open_files - reserved).max(1)
}

fn at_most(most: u32, count: u64) -> u32 {
    u32::try_from(count).map_or(most, |count| count.min(most))
}

/// What [`raise_limit`] would return.
pub fn bound(connections_max: u32) -> ConnectionBound {
    ConnectionBound::new(connections_max, getrlimit(Resource::Nofile).maximum)
}

/// Raises the limit of open files to the hard limit, and returns how many connections may be open:
/// at most `connections_max`.
pub fn raise_limit(connections_max: u32) -> ConnectionBound {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files could not be raised");
            limit.current
        }
    };
    let bound = ConnectionBound::new(connections_max, current);
    if bound.open_files.is_some() {
        tracing::warn!("{bound}");
    }
    bound
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lingers_and_files_that_are_sent_leave_as_much_to_all_else() {
        for (configured, files, lingering) in [
            (60_000, Some(64), 14),
            (60_000, Some(1024), 227),
            (60_000, Some(2048), 455),
            (60_000, Some(4607), 1023),
            (60_000, Some(4608), 1024),
            (60_000, Some(1 << 20), 1024),
            (100, Some(1024), 308),
            (1000, Some(2048), 455),
            (1000, Some(4096), 1024),
            (60_000, Some(1), 0),
            (60_000, None, 1024),
        ] {
            let bound = ConnectionBound::new(configured, files);
            assert_eq!(bound.lingering, lingering, "{configured} of {files:?}");
            let Some(files) = files else { continue };
            let all = u64::from(bound.connections()) + 3 * u64::from(bound.lingering);
            assert!(all <= files, "{configured} of {files}: {all} descriptors are promised");
        }
        assert_eq!(ConnectionBound::from(7).lingering, 1024);
    }

    #[test]
    fn the_limit_of_open_files_bounds_where_it_leaves_fewer() {
        for (files, connections, bounds) in [
            (Some(1024), 342, true),
            (Some(4096), 1366, true),
            (Some(20_000), 16_928, true),
            (Some(63_071), 59_999, true),
            (Some(63_072), 60_000, false),
            (None, 60_000, false),
        ] {
            let bound = ConnectionBound::new(60_000, files);
            let found = (bound.connections(), bound.open_files.is_some());
            assert_eq!(found, (connections, bounds), "{files:?}");
            assert_eq!(bound.limit() == "the limit of open files", bounds, "{files:?}");
        }
        assert_eq!(ConnectionBound::from(7).limit(), "limits.connections_max");
        assert!(ConnectionBound::of_admin(7).limit().contains("admin address"));
    }
}
