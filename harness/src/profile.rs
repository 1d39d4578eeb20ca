//! Whose clauses a run judges.

use throng_spec::Profile;

/// Whether a run of this profile judges the clause: a server of Throng's owes upstream's as well.
pub fn is_judged(clause: &str, profile: Profile) -> bool {
    let of_upstream = || throng_spec::clause(clause).map(|clause| clause.profile);
    profile == Profile::Throng || of_upstream() == Some(Profile::Upstream)
}
