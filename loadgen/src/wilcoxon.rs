//! Whether the values of one group are larger than those of another by more than chance: the exact rank
//! sum test of Wilcoxon, Mann and Whitney. Equal values share their ranks.

/// The probability, if both groups are of one kind, that the ranks of `b` add up to as much as they do
/// or more. Small: `b` is larger.
#[must_use]
pub fn p_larger(a: &[f64], b: &[f64]) -> f64 {
    let mut all: Vec<f64> = a.iter().chain(b).copied().collect();
    all.sort_unstable_by(f64::total_cmp);
    // Twice the mean rank of a value, so that it is a whole number.
    let rank = |value: f64| {
        let below = all.iter().filter(|other| **other < value).count();
        let equal = all.iter().filter(|other| **other == value).count();
        2 * below + equal + 1
    };
    let observed: usize = b.iter().map(|value| rank(*value)).sum();
    let ranks: Vec<usize> = all.iter().map(|value| rank(*value)).collect();
    let most: usize = ranks.iter().sum();
    // Ways to choose so many of the ranks with such a sum.
    let mut ways = vec![vec![0.0f64; most + 1]; b.len() + 1];
    ways[0][0] = 1.0;
    for rank in ranks {
        for chosen in (1..=b.len()).rev() {
            for sum in (rank..=most).rev() {
                ways[chosen][sum] += ways[chosen - 1][sum - rank];
            }
        }
    }
    let of_this_size = &ways[b.len()];
    of_this_size[observed..].iter().sum::<f64>() / of_this_size.iter().sum::<f64>()
}

/// The smallest probability that groups of these sizes can give.
#[must_use]
pub fn p_least(a: usize, b: usize) -> f64 {
    (1..=b).map(|k| k as f64 / (a + k) as f64).product()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(a: &[f64], b: &[f64], want: f64) {
        assert!((p_larger(a, b) - want).abs() < 1e-9, "{} is not {want}", p_larger(a, b));
    }

    #[test]
    fn probabilities_are_those_of_all_ways_to_divide_the_values() {
        // Of the 20 ways to take 3 of 6, one gives the largest sum.
        check(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0], 1.0 / 20.0);
        check(&[4.0, 5.0, 6.0], &[1.0, 2.0, 3.0], 1.0);
        // 2 of 20: 4 5 6 and 3 5 6.
        check(&[1.0, 2.0, 4.0], &[3.0, 5.0, 6.0], 2.0 / 20.0);
        check(&[1.0, 1.0], &[1.0, 1.0], 1.0);
        assert!((p_least(3, 3) - 0.05).abs() < 1e-9);
        assert!((p_least(5, 5) - 1.0 / 252.0).abs() < 1e-9);
    }
}
