//! A sequence of everything that keeps to "this comes before that" for as long as no two statements
//! contradict each other (Pearce and Kelly's dynamic topological order).

use std::collections::{HashMap, HashSet};

/// Items `0..count`, at first in this order.
pub struct Precedence {
    /// Where an item stands.
    rank: Vec<u32>,
    after: HashMap<u32, Vec<u32>>,
    before: HashMap<u32, Vec<u32>>,
    /// Items that may still be looked at.
    budget: u64,
}

/// Looks at as many items as take about a second: enough for any run whose order was kept by and large.
const BUDGET: u64 = 20_000_000;

impl Precedence {
    #[must_use]
    pub fn new(count: u32) -> Self {
        let rank = (0..count).collect();
        Self { rank, after: HashMap::new(), before: HashMap::new(), budget: BUDGET }
    }

    /// Takes in that `first` comes before `second`; false if that contradicts what was taken in before,
    /// or if it would take too long to find that out.
    pub fn admit(&mut self, first: u32, second: u32) -> bool {
        let (low, high) = (self.rank[second as usize], self.rank[first as usize]);
        if low <= high {
            let Some(later) = self.reach(second, &self.after, |rank| rank <= high) else {
                return false;
            };
            if later.contains(&first) {
                self.budget = self.budget.saturating_sub(later.len() as u64);
                return false;
            }
            let Some(earlier) = self.reach(first, &self.before, |rank| rank >= low) else {
                return false;
            };
            self.budget = self.budget.saturating_sub((later.len() + earlier.len()) as u64);
            self.reorder(earlier, later);
        }
        self.after.entry(first).or_default().push(second);
        self.before.entry(second).or_default().push(first);
        true
    }

    /// Where the precedence falls from one item to the one that stood next to it at first.
    #[must_use]
    pub fn descents(&self) -> Vec<u32> {
        let falls = |(_, pair): &(u32, &[u32])| pair[1] < pair[0];
        (0..).zip(self.rank.windows(2)).filter(falls).map(|(at, _)| at).collect()
    }

    #[must_use]
    pub fn is_before(&self, first: u32, second: u32) -> bool {
        self.rank[first as usize] < self.rank[second as usize]
    }

    /// The fewest of these items that are to be taken out for the rest to be in order: all but a longest
    /// ascending subsequence.
    #[must_use]
    pub fn misplaced(&self, items: impl Iterator<Item = u32>) -> u64 {
        // The lowest rank that an ascending subsequence of each length can end with.
        let mut ends: Vec<u32> = Vec::new();
        let mut count = 0;
        for item in items {
            let rank = self.rank[item as usize];
            count += 1;
            match ends.last() {
                Some(last) if *last > rank => {
                    let at = ends.partition_point(|end| *end < rank);
                    ends[at] = rank;
                }
                _ => ends.push(rank),
            }
        }
        count - ends.len() as u64
    }

    /// All that follows from `start` along `edges` within some ranks; none: the budget is used up.
    fn reach(
        &self,
        start: u32,
        edges: &HashMap<u32, Vec<u32>>,
        is_within: impl Fn(u32) -> bool,
    ) -> Option<HashSet<u32>> {
        let mut reached = HashSet::from([start]);
        let mut open = vec![start];
        while let Some(item) = open.pop() {
            if reached.len() as u64 > self.budget {
                return None;
            }
            for next in edges.get(&item).into_iter().flatten() {
                if is_within(self.rank[*next as usize]) && reached.insert(*next) {
                    open.push(*next);
                }
            }
        }
        Some(reached)
    }

    /// Gives the places of both sets to them anew: all of `earlier`, then all of `later`.
    fn reorder(&mut self, earlier: HashSet<u32>, later: HashSet<u32>) {
        let sorted = |items: HashSet<u32>| {
            let mut items: Vec<u32> = items.into_iter().collect();
            items.sort_unstable_by_key(|item| self.rank[*item as usize]);
            items
        };
        let items = [sorted(earlier), sorted(later)].concat();
        let mut ranks: Vec<u32> = items.iter().map(|item| self.rank[*item as usize]).collect();
        ranks.sort_unstable();
        for (item, rank) in items.into_iter().zip(ranks) {
            self.rank[item as usize] = rank;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_taken_in_until_they_contradict() {
        let mut precedence = Precedence::new(5);
        assert!(precedence.admit(3, 1) && precedence.admit(1, 2) && precedence.admit(4, 3));
        assert!(!precedence.admit(2, 4), "4 3 1 2");
        assert!(!precedence.admit(1, 3));
        assert!(precedence.admit(2, 0));
        let rank = |item: usize| precedence.rank[item];
        assert!(rank(4) < rank(3) && rank(3) < rank(1) && rank(1) < rank(2) && rank(2) < rank(0));
    }
}
