//! What ingress and egress count.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use throng_tables::metrics::Table;

use crate::adapter::Malformed;

throng_tables::metrics! {
    /// The exchange with other programs through the Socket.IO Redis adapter.
    #[derive(Debug, Default)]
    pub struct Counters: AtomicU64, "adapter_";

    Gauge subscribed "": "1 while this node receives events of other programs, else 0.";
    Counter events_in "events": "Events of other programs passed on to the shards.";
    Counter published "messages": "Messages published to other programs.";
    Counter unpublished "messages": "Messages that could not be published to other programs: Redis \
        rejected them, or the queue was full.";

    [labelled]
    Counter skipped "publications": "Publications of other programs not passed on, by reason; \
        foreign: for rooms of another application." {
        skipped_foreign: why = "foreign";
        skipped_busy: why = "busy";
        skipped_too_large: why = "too_large";
        skipped_unreadable: why = "unreadable";
        skipped_not_a_broadcast: why = "not_a_broadcast";
        skipped_other_namespace: why = "other_namespace";
        skipped_binary: why = "binary";
        skipped_reserved: why = "reserved";
        skipped_too_many_names: why = "too_many_names";
    }
}

impl Counters {
    /// Whether events of other programs arrive.
    pub fn is_subscribed(&self) -> bool {
        self.subscribed.load(Relaxed) == 1
    }

    pub(crate) fn malformed(&self, malformed: Malformed) -> &AtomicU64 {
        match malformed {
            Malformed::TooLarge => &self.skipped_too_large,
            Malformed::Unreadable => &self.skipped_unreadable,
            Malformed::NotABroadcast => &self.skipped_not_a_broadcast,
            Malformed::OtherNamespace => &self.skipped_other_namespace,
            Malformed::Binary => &self.skipped_binary,
            Malformed::Reserved => &self.skipped_reserved,
            Malformed::TooManyNames => &self.skipped_too_many_names,
        }
    }

    /// Publications not passed on, by reason, as far as there were any.
    pub fn skipped(&self) -> Vec<(&'static str, u64)> {
        let all = Self::NAMES.iter().zip(self.values());
        all.filter(|(_, count)| *count > 0)
            .filter_map(|(name, count)| Some((name.strip_prefix("skipped_")?, count)))
            .collect()
    }
}
