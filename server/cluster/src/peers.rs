//! The other nodes: which are alive, under which incarnation, and in which rooms they have users.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use throng_chat::RoomId;
use throng_chat::cluster::NodeIx;
use throng_engine::Now;

use crate::entry::{generation_of, is_incarnation, process_of};
use crate::order::Fields;
use crate::sequence::Sequence;

/// An incarnation in the registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub id: u16,
    /// All its presence was written.
    pub ready: bool,
    /// `host:port`, for operators.
    #[serde(default)]
    pub addr: String,
    /// When the process started, in milliseconds since the Unix epoch, for operators.
    #[serde(default)]
    pub started: u64,
}

/// The registry as read, and which incarnations hold their leases.
#[derive(Debug, Default)]
pub struct Registry {
    pub records: BTreeMap<String, Record>,
    live: BTreeSet<String>,
}

impl Registry {
    /// Malformed records are skipped and left in place: a later version may understand them.
    pub fn parse(fields: &Fields) -> Registry {
        let mut records = BTreeMap::new();
        for (incarnation, json) in fields {
            if let (true, Ok(record)) = (is_incarnation(incarnation), serde_json::from_str(json)) {
                records.insert(incarnation.clone(), record);
            }
        }
        Registry { records, live: BTreeSet::new() }
    }

    /// `holders`: the values of the lease keys, in the order of the records.
    pub fn set_live(&mut self, holders: &[Option<String>]) {
        let held = self.records.keys().zip(holders);
        let is_held = |(name, holder): &(&String, &Option<String>)| holder.as_ref() == Some(*name);
        self.live = held.filter(is_held).map(|(name, _)| name.clone()).collect();
    }

    pub fn is_live(&self, incarnation: &str) -> bool {
        self.live.contains(incarnation)
    }

    pub fn live(&self) -> impl Iterator<Item = (&str, &Record)> {
        self.live.iter().map(|name| {
            (name.as_str(), self.records.get(name).expect("a live incarnation has a record"))
        })
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

/// One other node.
pub struct Peer {
    pub ix: NodeIx,
    /// The incarnation whose entries and fields are read.
    pub incarnation: String,
    pub id: u16,
    /// Rooms in which the shards have users of this node.
    pub rooms: BTreeSet<RoomId>,
    pub sequence: Sequence,
    /// The value of [`Peers::adoptions`] when this incarnation was adopted. A presence hash counts
    /// for it only if the read was ordered afterwards.
    pub adoption: u64,
    /// Since when no incarnation of the process is alive.
    absent_since: Option<Now>,
    /// The registry has shown it without a lease, rather than having lost its record.
    is_recorded: bool,
}

#[derive(Default)]
pub struct Peers {
    /// By process.
    pub known: BTreeMap<String, Peer>,
    /// Known processes whose sets of rooms must be read.
    pub unread: BTreeSet<String>,
    next_ix: u16,
    /// How many incarnations were adopted so far.
    pub adoptions: u64,
}

/// How long an absent peer is kept.
#[derive(Clone, Copy, Debug)]
pub struct Grace {
    /// With a record in the registry.
    pub recorded_ms: u64,
    /// Without a record.
    pub unrecorded_ms: u64,
    /// When this node's own lease was last known to be held. A node that may have lost its own
    /// lease with the data of Redis declares no peer dead.
    pub verified_at: Now,
}

/// What a read of the registry changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PeersChange {
    pub joined: Vec<String>,
    pub departed: Vec<(NodeIx, String, u16)>,
    /// Incarnations that were replaced by newer ones of the same process.
    pub replaced: Vec<(String, u16)>,
    /// Live nodes that were not adopted because of the bound.
    pub refused: u64,
}

impl Peers {
    /// Compares the known peers with the registry. `grace`: how long a peer may be without a lease
    /// before it is gone. After an outage every node needs some time to come back. So does a node
    /// whose record is lost, since a sweeper removes the record long after the lease.
    pub fn observe(
        &mut self,
        registry: &Registry,
        own: &str,
        now: Now,
        grace: Grace,
        peers_max: usize,
    ) -> PeersChange {
        let mut change = PeersChange::default();
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
                change.departed.push((peer.ix, peer.incarnation.clone(), peer.id));
            }
            is_kept
        });
        let processes: BTreeSet<&str> = registry.live().map(|(name, _)| process_of(name)).collect();
        for process in processes.into_iter().filter(|process| *process != own) {
            // By design: its presence is not complete yet.
            let Some(name) = registry.ready(process) else { continue };
            let id = registry.records.get(name).expect("a live incarnation has a record").id;
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

    /// The presence of the process must be read again. By design, it may have gone meanwhile.
    pub fn read_again(&mut self, process: &str) {
        if self.known.contains_key(process) {
            self.unread.insert(process.to_owned());
        }
    }

    /// # Errors
    /// The first broken invariant. `own`: this process.
    pub fn check(&self, own: &str, max: usize) -> Result<(), String> {
        ensure!(self.known.len() <= max, "{} peers", self.known.len());
        ensure!(!self.known.contains_key(own), "this process is its own peer");
        let mut indexes = BTreeSet::new();
        for (process, peer) in &self.known {
            let of = process_of(&peer.incarnation);
            ensure!(of == process, "{} is filed under {process}", peer.incarnation);
            ensure!(indexes.insert(peer.ix) && peer.ix.0 < self.next_ix, "{:?} is reused", peer.ix);
            ensure!(peer.adoption <= self.adoptions, "{process} is adopted in the future");
        }
        for process in &self.unread {
            ensure!(self.known.contains_key(process), "{process} must be read and is not known");
        }
        Ok(())
    }

    /// The peer with this incarnation. By design, entries may name others: dead or not yet adopted.
    pub fn named(&mut self, incarnation: &str) -> Option<&mut Peer> {
        let peer = self.known.get_mut(process_of(incarnation))?;
        (peer.incarnation == incarnation).then_some(peer)
    }
}
