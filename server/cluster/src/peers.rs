//! The other nodes: who lives, under which incarnation, and in which rooms it has somebody.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use throng_core::cluster::NodeIx;
use throng_core::{Now, RoomId};

use crate::entry::{generation_of, is_incarnation, process_of};
use crate::order::Fields;
use crate::reading::Sequence;

/// What the registry says of an incarnation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub id: u16,
    /// All its presence has been written.
    pub ready: bool,
    /// For people.
    #[serde(default)]
    pub addr: String,
    #[serde(default)]
    pub started: u64,
}

/// The registry as read, and who holds the leases.
#[derive(Debug, Default)]
pub struct Registry {
    pub records: BTreeMap<String, Record>,
    live: BTreeSet<String>,
}

impl Registry {
    /// Records that are none are left alone: a later version may know them.
    pub fn parse(fields: &Fields) -> Registry {
        let mut records = BTreeMap::new();
        for (incarnation, json) in fields {
            if let (true, Ok(record)) = (is_incarnation(incarnation), serde_json::from_str(json)) {
                records.insert(incarnation.clone(), record);
            }
        }
        Registry { records, live: BTreeSet::new() }
    }

    /// `holders`: the values of the leases, in the order of the records.
    pub fn settle(&mut self, holders: &[Option<String>]) {
        let held = self.records.keys().zip(holders);
        let is_held = |(name, holder): &(&String, &Option<String>)| holder.as_ref() == Some(*name);
        self.live = held.filter(is_held).map(|(name, _)| name.clone()).collect();
    }

    pub fn is_live(&self, incarnation: &str) -> bool {
        self.live.contains(incarnation)
    }

    pub fn live(&self) -> impl Iterator<Item = (&str, &Record)> {
        self.live.iter().filter_map(|name| Some((name.as_str(), self.records.get(name)?)))
    }

    pub fn is_process_live(&self, process: &str) -> bool {
        self.live().any(|(name, _)| process_of(name) == process)
    }

    /// The incarnation under which a process can be read.
    pub fn ready(&self, process: &str) -> Option<&str> {
        self.live()
            .filter(|(name, record)| record.ready && process_of(name) == process)
            .map(|(name, _)| name)
            .max_by_key(|name| generation_of(name))
    }
}

pub struct Peer {
    pub ix: NodeIx,
    /// Under which name it is read.
    pub incarnation: String,
    pub id: u16,
    /// Where the shards believe it has somebody.
    pub rooms: BTreeSet<RoomId>,
    pub sequence: Sequence,
    /// What is read of the hashes counts if it was asked for after this one of all adoptions.
    pub adoption: u64,
    /// Since when no incarnation of it lives.
    absent_since: Option<Now>,
    /// The registry has shown it without a lease, instead of having lost it.
    is_recorded: bool,
}

#[derive(Default)]
pub struct Peers {
    /// By process.
    pub known: BTreeMap<String, Peer>,
    /// Those whose lists of rooms have to be read.
    pub unread: BTreeSet<String>,
    next_ix: u16,
    /// How often a name has been taken in.
    pub adoptions: u64,
}

#[derive(Clone, Copy, Debug)]
pub struct Grace {
    pub recorded_ms: u64,
    pub unrecorded_ms: u64,
    /// Whoever may have lost its own lease, since Redis has forgotten it, judges nobody: until
    /// this moment its own was held.
    pub verified_at: Now,
}

/// What a look at the registry changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Change {
    pub joined: Vec<String>,
    pub gone: Vec<(NodeIx, String, u16)>,
    /// Names that have been replaced by newer ones of the same process.
    pub replaced: Vec<(String, u16)>,
    /// Nodes that live and are not taken in: there are too many.
    pub refused: u64,
}

impl Peers {
    /// `grace`: how long one may be without a lease before it is gone. After an outage everybody
    /// needs a moment to come back; so does a node whose record is lost, since a sweeper removes
    /// the record long after the lease.
    pub fn observe(
        &mut self,
        registry: &Registry,
        own: &str,
        now: Now,
        grace: Grace,
        peers_max: usize,
    ) -> Change {
        let mut change = Change::default();
        self.known.retain(|process, peer| {
            if registry.is_process_live(process) {
                peer.absent_since = None;
                peer.is_recorded = false;
                return true;
            }
            let since = *peer.absent_since.get_or_insert(now);
            peer.is_recorded |= registry.records.contains_key(&peer.incarnation);
            let grace_ms = if peer.is_recorded { grace.recorded_ms } else { grace.unrecorded_ms };
            let is_kept = now < since.plus_ms(grace_ms) || grace.verified_at < since;
            if !is_kept {
                self.unread.remove(process);
                change.gone.push((peer.ix, peer.incarnation.clone(), peer.id));
            }
            is_kept
        });
        let processes: BTreeSet<&str> = registry.live().map(|(name, _)| process_of(name)).collect();
        for process in processes.into_iter().filter(|process| *process != own) {
            let Some(name) = registry.ready(process) else { continue };
            let id = registry.records.get(name).map_or(0, |record| record.id);
            let is_full = self.known.len() >= peers_max || self.next_ix == u16::MAX;
            match self.known.get_mut(process) {
                Some(peer) if peer.incarnation == name => {}
                Some(peer) => {
                    self.adoptions += 1;
                    peer.adoption = self.adoptions;
                    let old = std::mem::replace(&mut peer.incarnation, name.to_owned());
                    change.replaced.push((old, std::mem::replace(&mut peer.id, id)));
                    peer.sequence = Sequence::default();
                    self.unread.insert(process.to_owned());
                }
                None if is_full => change.refused += 1,
                None => {
                    let ix = NodeIx(self.next_ix);
                    self.next_ix += 1;
                    self.adoptions += 1;
                    let peer = Peer {
                        ix,
                        incarnation: name.to_owned(),
                        id,
                        rooms: BTreeSet::new(),
                        sequence: Sequence::default(),
                        adoption: self.adoptions,
                        absent_since: None,
                        is_recorded: false,
                    };
                    self.known.insert(process.to_owned(), peer);
                    self.unread.insert(process.to_owned());
                    change.joined.push(name.to_owned());
                }
            }
        }
        change
    }

    pub fn has_absent(&self) -> bool {
        self.known.values().any(|peer| peer.absent_since.is_some())
    }

    /// The peer that is read under this name.
    pub fn named(&mut self, incarnation: &str) -> Option<&mut Peer> {
        let peer = self.known.get_mut(process_of(incarnation))?;
        (peer.incarnation == incarnation).then_some(peer)
    }
}
