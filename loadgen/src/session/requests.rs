//! Requests with an ack id that the server has not acknowledged yet.

use std::collections::VecDeque;

#[derive(Clone, Copy)]
pub enum Asked {
    /// Index of the membership.
    Join(usize),
    Leave(usize),
    /// Number of the message.
    Publish(u32),
}

pub struct Pending {
    id: u32,
    pub asked: Asked,
    pub since_ns: u64,
}

#[derive(Default)]
pub struct Requests {
    pending: VecDeque<Pending>,
    next_id: u32,
}

impl Requests {
    /// The ack id that the next [`Requests::ask`] will use.
    pub fn next_id(&self) -> u32 {
        self.next_id
    }

    pub fn ask(&mut self, now_ns: u64, asked: Asked) -> u32 {
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        self.pending.push_back(Pending { id, asked, since_ns: now_ns });
        id
    }

    /// Requests whose ids begin there.
    pub fn from(next_id: u32) -> Self {
        Self { pending: VecDeque::new(), next_id }
    }

    /// Takes the join of this membership.
    pub fn take_join(&mut self, index: usize) -> Option<Pending> {
        let is_it = |pending: &Pending| matches!(pending.asked, Asked::Join(at) if at == index);
        let at = self.pending.iter().position(is_it)?;
        self.pending.remove(at)
    }

    /// Takes the request with this ack id.
    pub fn take(&mut self, id: u32) -> Option<Pending> {
        let at = self.pending.iter().position(|pending| pending.id == id)?;
        self.pending.remove(at)
    }

    /// The connection is lost: no ack will come.
    pub fn clear(&mut self) {
        self.pending.clear();
    }
}
