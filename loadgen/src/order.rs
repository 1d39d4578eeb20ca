//! The total order of a room: whether its members received the messages of all publishers in one order.
//!
//! The messages stand in one sequence, each where the first member that received it put it. A member
//! that receives what comes next in the sequence only moves its place on: one load and one comparison.
//! Any other step ends a run, and a member's runs are kept. At the end steps that many members made are
//! believed first, which gives the room's common order. A member's violations are the fewest messages that
//! are to be taken out of what it received for the rest to be in that order: one for two neighbours that
//! are swapped, `k` for a longer block that is moved by `k`. So it does not matter who received what first,
//! and members that miss messages, come late or leave contradict nobody.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};

use serde::{Deserialize, Serialize};

use crate::precedence::Precedence;

/// The sequence grows by parts, each twice as long as the one before.
const FIRST_PART: u32 = 64;
const PARTS: usize = 16;
/// Messages of one room that are compared: 4 million.
pub const MESSAGES_MAX: u32 = FIRST_PART * ((1 << PARTS) - 1);
/// Runs of all members of one room that are kept. Beyond that only steps backwards are counted.
const RUNS_MAX: usize = 1 << 20;
/// Violations of one room that are described.
const DESCRIBED_MAX: usize = 20;

/// A member's place in the sequence: it has followed it from `start` to before `next`.
#[derive(Debug, Default)]
pub struct Place {
    client: u32,
    start: u32,
    next: u32,
    /// Where it followed the sequence before.
    runs: Vec<Run>,
}

/// Places of the sequence from one to before another.
type Run = Range<u32>;

/// The sequence of one room.
#[derive(Default)]
pub struct Order {
    parts: [OnceLock<Box<[AtomicU64]>>; PARTS],
    steps: Mutex<Steps>,
}

#[derive(Default)]
struct Steps {
    /// Messages in the sequence.
    len: u32,
    /// One past the highest number in the sequence, per publisher.
    highest: HashMap<u16, u32>,
    /// Where a message stands; made when first needed, of the first `indexed` messages.
    index: HashMap<u64, u32>,
    indexed: u32,
    /// What each member followed, in the order in which it did.
    members: Vec<Member>,
    /// Runs of all members, those that are still here included.
    runs: usize,
    /// Steps backwards beyond the bound.
    unkept: u64,
}

struct Member {
    client: u32,
    runs: Vec<Run>,
}

#[derive(Clone, Copy, Default)]
struct Step {
    members: u64,
    client: Option<u32>,
}

/// Two messages that some members received the other way round.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mismatch {
    /// The room's number.
    pub room: u32,
    /// Place of `first` among the room's messages, from 0.
    pub position: u32,
    /// `publisher/number` of the message that these members received first.
    pub first: String,
    /// The one that they received next, and that is to come before.
    pub then: String,
    pub members: u64,
    /// One of these members.
    pub client: Option<u32>,
}

/// What the members' steps say together.
#[derive(Debug, Default)]
pub struct Judgement {
    pub violations: u64,
    /// Messages that have a place in the sequence.
    pub compared: u64,
    /// The first of the violations.
    pub mismatches: Vec<Mismatch>,
}

fn key(publisher: u16, n: u32) -> u64 {
    (u64::from(publisher) + 1) << 32 | u64::from(n)
}

fn name(key: u64) -> String {
    format!("{}/{}", (key >> 32) - 1, key as u32)
}

impl Order {
    /// The place of a member that joins now.
    #[must_use]
    pub fn join(&self, client: u32) -> Place {
        let len = self.steps().len;
        Place { client, start: len, next: len, runs: Vec::new() }
    }

    /// A member received this message for the first time.
    #[inline]
    pub fn see(&self, place: &mut Place, publisher: u16, n: u32) {
        let key = key(publisher, n);
        if self.at(place.next) == key {
            place.next += 1;
        } else {
            self.step(place, key);
        }
    }

    /// The member receives no more.
    pub fn leave(&self, place: &mut Place) {
        let mut steps = self.steps();
        steps.end_run(place, u32::MAX);
        let runs = std::mem::take(&mut place.runs);
        if !runs.is_empty() {
            steps.members.push(Member { client: place.client, runs });
        }
    }

    fn steps(&self) -> MutexGuard<'_, Steps> {
        self.steps.lock().expect("no thread panics while it holds the lock")
    }

    #[inline]
    fn slot(&self, at: u32) -> Option<(usize, usize)> {
        let at = at.checked_add(FIRST_PART)?;
        let part = (at.ilog2() - FIRST_PART.ilog2()) as usize;
        Some((part, (at - (FIRST_PART << part)) as usize))
    }

    /// The message at this place; 0: none yet.
    #[inline]
    fn at(&self, at: u32) -> u64 {
        let slot = || {
            let (part, offset) = self.slot(at)?;
            self.parts.get(part)?.get()?.get(offset)
        };
        slot().map_or(0, |slot| slot.load(Ordering::Acquire))
    }

    #[cold]
    fn step(&self, place: &mut Place, key: u64) {
        let mut steps = self.steps();
        let known = steps.find(self, key);
        let Some(at) = known.or_else(|| self.push(&mut steps, key)) else { return };
        if at != place.next {
            steps.end_run(place, at);
        }
        place.next = at + 1;
    }

    /// Puts a message at the end of the sequence; none: it is full.
    fn push(&self, steps: &mut Steps, key: u64) -> Option<u32> {
        let at = steps.len;
        let (part, offset) = self.slot(at).filter(|_| at < MESSAGES_MAX)?;
        let slots = self.parts[part].get_or_init(|| {
            let size = FIRST_PART << part;
            (0..size).map(|_| AtomicU64::new(0)).collect()
        });
        slots[offset].store(key, Ordering::Release);
        steps.len += 1;
        let highest = steps.highest.entry(publisher(key)).or_insert(0);
        *highest = (*highest).max((key as u32).saturating_add(1));
        Some(at)
    }

    /// Holds what all members received against each other.
    #[must_use]
    pub fn judge(&self, room: u32) -> Judgement {
        let steps = self.steps();
        let compared = u64::from(steps.len);
        // The sequence itself keeps to all steps that lead forwards.
        let leads_back = |member: &Member| member.joints().any(|(from, to)| to < from);
        if !steps.members.iter().any(leads_back) {
            return Judgement { violations: steps.unkept, compared, mismatches: Vec::new() };
        }
        let mut made = steps.made();
        made.sort_unstable_by_key(|(from, to, step)| {
            (Reverse(step.members), from > to, *from, *to)
        });
        let mut precedence = Precedence::new(steps.len);
        made.retain(|(from, to, _)| !precedence.admit(*from, *to));
        made.sort_unstable_by_key(|(from, to, _)| (*from, *to));
        let describe = |(from, to, step): &(u32, u32, Step)| Mismatch {
            room,
            position: *from,
            first: name(self.at(*from)),
            then: name(self.at(*to)),
            members: step.members,
            client: step.client,
        };
        let descents = precedence.descents();
        let contradicts = |member: &&Member| member.contradicts(&precedence, &descents);
        let misplaced =
            |member: &Member| precedence.misplaced(member.runs.iter().flat_map(Clone::clone));
        let violations: u64 = steps.members.iter().filter(contradicts).map(misplaced).sum();
        Judgement {
            violations: steps.unkept + violations,
            compared,
            mismatches: made.iter().take(DESCRIBED_MAX).map(describe).collect(),
        }
    }
}

fn publisher(key: u64) -> u16 {
    ((key >> 32) - 1) as u16
}

impl Steps {
    /// Where a message stands in the sequence of `order`.
    fn find(&mut self, order: &Order, key: u64) -> Option<u32> {
        if key as u32 >= self.highest.get(&publisher(key)).copied().unwrap_or(0) {
            return None;
        }
        for at in self.indexed..self.len {
            self.index.insert(order.at(at), at);
        }
        self.indexed = self.len;
        self.index.get(&key).copied()
    }

    /// A member's run is over; it goes on at `at`.
    fn end_run(&mut self, place: &mut Place, at: u32) {
        if place.next > place.start {
            if self.runs < RUNS_MAX {
                place.runs.push(place.start..place.next);
                self.runs += 1;
            } else {
                self.unkept += u64::from(at < place.next);
            }
        }
        place.start = at;
    }

    /// The steps of all members, from one message to the next.
    fn made(&self) -> Vec<(u32, u32, Step)> {
        let mut joints: HashMap<(u32, u32), Step> = HashMap::new();
        // How many more members follow the sequence from here than did to here.
        let mut more = vec![0_i64; self.len as usize];
        for member in &self.members {
            for joint in member.joints() {
                let step = joints.entry(joint).or_default();
                step.members += 1;
                step.client.get_or_insert(member.client);
            }
            for run in &member.runs {
                more[run.start as usize] += 1;
                more[run.end as usize - 1] -= 1;
            }
        }
        let mut made: Vec<_> =
            joints.into_iter().map(|((from, to), step)| (from, to, step)).collect();
        let mut members = 0;
        for (from, more) in (0..).zip(more) {
            members += more;
            if members > 0 {
                made.push((from, from + 1, Step { members: members as u64, client: None }));
            }
        }
        made
    }
}

impl Member {
    /// Steps from the end of one run to the start of the next.
    fn joints(&self) -> impl Iterator<Item = (u32, u32)> {
        self.runs.windows(2).map(|pair| (pair[0].end - 1, pair[1].start))
    }

    /// It received something in another order than that of the precedence, which falls at the `descents`.
    fn contradicts(&self, precedence: &Precedence, descents: &[u32]) -> bool {
        let falls = |run: &Run| {
            let first = descents.partition_point(|at| *at < run.start);
            descents.get(first).is_some_and(|at| at + 1 < run.end)
        };
        self.joints().any(|(from, to)| !precedence.is_before(from, to))
            || self.runs.iter().any(falls)
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::seq::SliceRandom as _;
    use rand::{Rng as _, SeedableRng as _};

    use super::*;

    type Message = (u16, u32);

    /// Every member receives its messages; `turns` says who receives its next one.
    fn judge(sequences: &[Vec<Message>], turns: impl IntoIterator<Item = usize>) -> Judgement {
        let order = Order::default();
        let mut places: Vec<_> = (0..sequences.len() as u32).map(|k| order.join(k)).collect();
        let mut next = vec![0; sequences.len()];
        for member in turns {
            if let Some((publisher, n)) = sequences[member].get(next[member]) {
                order.see(&mut places[member], *publisher, *n);
                next[member] += 1;
            }
        }
        for (member, place) in places.iter_mut().enumerate() {
            assert_eq!(next[member], sequences[member].len(), "the test is to play all of them");
            order.leave(place);
        }
        order.judge(7)
    }

    /// One member after another receives all it has.
    fn one_by_one(sequences: &[Vec<Message>]) -> Judgement {
        judge(sequences, (0..sequences.len()).flat_map(|k| vec![k; sequences[k].len()]))
    }

    fn sequence(messages: u32, publishers: u16) -> Vec<Message> {
        let publishers = u32::from(publishers);
        (0..messages).map(|k| ((k % publishers) as u16, k / publishers)).collect()
    }

    #[test]
    fn members_that_agree_have_no_violation_and_all_messages_were_compared() {
        let judgement = one_by_one(&vec![sequence(1_000, 7); 5]);
        assert_eq!((judgement.violations, judgement.compared), (0, 1_000));
    }

    #[test]
    fn a_pair_swapped_for_one_member_is_one_violation_whoever_receives_it_first() {
        let right = sequence(300, 3);
        let mut wrong = right.clone();
        wrong.swap(100, 101);
        for odd in 0..4 {
            let mut all = vec![right.clone(); 4];
            all[odd] = wrong.clone();
            let judgement = one_by_one(&all);
            assert_eq!(judgement.violations, 1, "member {odd}");
            let mismatch = &judgement.mismatches[0];
            assert_eq!((mismatch.room, mismatch.members), (7, 1));
            assert_eq!((mismatch.first.as_str(), mismatch.then.as_str()), ("2/33", "1/33"));
            assert_eq!(mismatch.client.is_none(), odd == 0, "the first to receive it");
        }
    }

    #[test]
    fn as_many_swapped_pairs_as_there_are_are_counted() {
        let right = sequence(1_000, 4);
        let mut wrong = right.clone();
        (0..46).for_each(|k| wrong.swap(20 * k + 5, 20 * k + 6));
        let judgement = one_by_one(&[right.clone(), wrong.clone(), right.clone(), wrong, right]);
        assert_eq!(judgement.violations, 92);
        assert_eq!(judgement.mismatches.len(), DESCRIBED_MAX);
    }

    #[test]
    fn a_block_that_is_moved_is_as_many_violations_as_messages_stand_wrong() {
        let right = sequence(200, 3);
        for (block, by, want) in [(1, 40, 1), (3, 40, 3), (10, 4, 4), (25, 25, 25), (1, 1, 1)] {
            for odd in 0..4 {
                let mut wrong = right.clone();
                wrong[50..50 + block + by].rotate_left(block);
                let mut all = vec![right.clone(); 4];
                all[odd] = wrong;
                let judgement = one_by_one(&all);
                assert_eq!(judgement.violations, want, "{block} by {by}, member {odd}");
            }
        }
    }

    #[test]
    fn a_block_in_reverse_leaves_one_message_in_its_place() {
        let right = sequence(100, 4);
        let mut wrong = right.clone();
        wrong[30..42].reverse();
        assert_eq!(one_by_one(&[right.clone(), wrong, right]).violations, 11);
    }

    #[test]
    fn a_message_that_comes_late_is_one_violation() {
        let right = sequence(200, 2);
        let mut wrong = right.clone();
        let late = wrong.remove(50);
        wrong.insert(90, late);
        assert_eq!(one_by_one(&[right.clone(), wrong, right]).violations, 1);
    }

    #[test]
    fn losses_late_joins_and_early_ends_are_no_violations() {
        for seed in 0..300 {
            let mut rng = SmallRng::seed_from_u64(seed);
            let whole = sequence(120, 5);
            let mut sequences: Vec<Vec<Message>> = Vec::new();
            for _ in 0..6 {
                let (from, to) = (rng.random_range(0..60), rng.random_range(61..=120));
                let loss = [0.0, 0.05, 0.5][rng.random_range(0..3)];
                let kept = whole[from..to].iter().filter(|_| !rng.random_bool(loss));
                sequences.push(kept.copied().collect());
            }
            let mut turns: Vec<usize> =
                (0..6).flat_map(|member| vec![member; sequences[member].len()]).collect();
            turns.shuffle(&mut rng);
            assert_eq!(judge(&sequences, turns).violations, 0, "seed {seed}");
        }
    }

    #[test]
    fn a_swap_among_losses_is_found_if_anybody_received_both_the_right_way_round() {
        let whole = sequence(60, 3);
        let mut wrong = whole.clone();
        wrong.swap(30, 31);
        let lossy = |every: usize| {
            whole.iter().enumerate().filter(|(at, _)| at % every != 0).map(|(_, m)| *m).collect()
        };
        // Without message 30; without 28 and 35.
        assert_eq!(one_by_one(&[lossy(30), wrong.clone()]).violations, 0);
        assert_eq!(one_by_one(&[lossy(7), wrong.clone(), lossy(30)]).violations, 1);
    }

    #[test]
    fn threads_build_one_sequence() {
        let order = Order::default();
        let messages = sequence(20_000, 8);
        std::thread::scope(|scope| {
            for client in 0..4 {
                let (order, messages) = (&order, &messages);
                scope.spawn(move || {
                    let mut place = order.join(client);
                    for (publisher, n) in &messages[place.next.min(1_000) as usize..] {
                        order.see(&mut place, *publisher, *n);
                    }
                    order.leave(&mut place);
                });
            }
        });
        let judgement = order.judge(1);
        assert_eq!((judgement.violations, judgement.compared), (0, 20_000));
    }

    #[test]
    fn no_order_at_all_is_found_in_bounded_time() {
        let mut rng = SmallRng::seed_from_u64(1);
        let whole = sequence(3_000, 50);
        let mut sequences = vec![whole.clone(); 5];
        sequences.iter_mut().for_each(|one| one.shuffle(&mut rng));
        let judgement = one_by_one(&sequences);
        assert!(judgement.violations > 3_000, "{}", judgement.violations);
    }

    #[test]
    fn a_sequence_that_is_full_takes_no_more_and_accuses_nobody() {
        let order = Order::default();
        let mut place = order.join(0);
        for n in 0..MESSAGES_MAX + 10 {
            order.see(&mut place, (n % 2) as u16, n / 2);
        }
        order.leave(&mut place);
        let judgement = order.judge(1);
        assert_eq!((judgement.violations, judgement.compared), (0, u64::from(MESSAGES_MAX)));
    }
}
