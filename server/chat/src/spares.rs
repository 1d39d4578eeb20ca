//! Memory of messages that are on their way no more, for those that come: a shard that is at work allocates nothing
//! for a message.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::batch::Batch;
use crate::lane::Publish;

/// Publishes that are kept, and the longest text among them.
const PUBLISHES_MAX: usize = 256;
const TEXT_BYTES_MAX: usize = 2048;
/// Batches that are kept, and the largest among them.
const BATCHES_MAX: usize = 256;
const BATCH_BYTES_MAX: usize = 16 * 1024;

/// The spare memory of one shard: at most some megabytes, and what a time of many messages took.
#[derive(Default)]
pub(crate) struct Spares {
    /// Boxed as they travel.
    #[expect(clippy::vec_box, reason = "the boxes themselves are reused")]
    publishes: Vec<Box<Publish>>,
    /// In the order in which they were sent. Edges may still read them.
    batches: VecDeque<Arc<Batch>>,
}

impl Spares {
    /// An empty one.
    pub(crate) fn publish(&mut self) -> Box<Publish> {
        self.publishes.pop().unwrap_or_default()
    }

    pub(crate) fn keep_publish(&mut self, mut publish: Box<Publish>) {
        let capacity = publish.msg.capacity().max(publish.time.capacity());
        if self.publishes.len() < PUBLISHES_MAX && capacity <= TEXT_BYTES_MAX {
            publish.msg.clear();
            publish.img = Box::default();
            publish.time.clear();
            publish.cid = None;
            self.publishes.push(publish);
        }
    }

    /// An empty one, which nobody else has.
    pub(crate) fn batch(&mut self) -> Arc<Batch> {
        // The oldest is the first that all edges have read.
        if let Some(mut batch) = self.batches.pop_front()
            && let Some(unread) = Arc::get_mut(&mut batch)
        {
            unread.clear();
            return batch;
        }
        Arc::default()
    }

    /// A batch that was handed to the edges.
    pub(crate) fn keep_batch(&mut self, batch: &Arc<Batch>) {
        if self.batches.len() < BATCHES_MAX && batch.capacity() <= BATCH_BYTES_MAX {
            self.batches.push_back(Arc::clone(batch));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publish_comes_back_empty() {
        let mut spares = Spares::default();
        let publish = Publish { msg: "a".into(), img: "b".into(), time: "c".into(), cid: None };
        let address = publish.msg.as_ptr();
        spares.keep_publish(Box::new(publish));
        let publish = spares.publish();
        assert_eq!((&*publish.msg, &*publish.img, &*publish.time), ("", "", ""));
        assert_eq!(publish.msg.as_ptr(), address);
    }

    #[test]
    fn a_batch_that_is_read_is_no_spare() {
        let mut spares = Spares::default();
        let mut batch = Arc::<Batch>::default();
        spares.keep_batch(&batch);
        let another = spares.batch();
        assert!(!Arc::ptr_eq(&batch, &another));
        assert!(Arc::get_mut(&mut batch).is_some(), "nor is it kept");
        spares.keep_batch(&batch);
        let address = Arc::as_ptr(&batch);
        drop(batch);
        assert_eq!(Arc::as_ptr(&spares.batch()), address);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut spares = Spares::default();
        let long = Publish { msg: String::with_capacity(TEXT_BYTES_MAX + 1), ..Publish::default() };
        spares.keep_publish(Box::new(long));
        assert!(spares.publishes.is_empty());
        (0..=PUBLISHES_MAX).for_each(|_| spares.keep_publish(Box::default()));
        (0..=BATCHES_MAX).for_each(|_| spares.keep_batch(&Arc::default()));
        assert_eq!((spares.publishes.len(), spares.batches.len()), (PUBLISHES_MAX, BATCHES_MAX));
    }
}
