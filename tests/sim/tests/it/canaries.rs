//! Each deliberate defect is caught within a stated number of seeds. README.md has the measured
//! rates; the numbers here leave a margin for the rare ones.

use std::path::Path;

use throng_chat::canary::Canary as Chat;
use throng_engine::canary::Canary as Engine;
use throng_sim::canary::Canary;
use throng_sim::run::{Options, quiet_panics, run_seed};

fn is_caught_within(canary: Canary, seeds: u64) {
    quiet_panics();
    let (nodes, shards) = if canary.is_of_cluster() { (2, 1) } else { (1, 3) };
    let options = Options { nodes, canary: Some(canary), ..Options::new(shards) };
    let caught = (0..seeds).any(|seed| run_seed(seed, options).violation.is_some());
    assert!(caught, "{canary:?} was not caught in {seeds} seeds");
}

/// Only the invariants of `Shard::check` see these: nothing that a client receives depends on them.
fn is_caught_by_check_within(canary: Canary, seeds: u64) {
    quiet_panics();
    let (nodes, shards) = if canary.is_of_cluster() { (2, 1) } else { (1, 3) };
    let options = Options { nodes, canary: Some(canary), ..Options::new(shards) };
    let mut violations = (0..seeds).filter_map(|seed| run_seed(seed, options).violation);
    let checker = violations.next().map(|violation| violation.checker);
    assert_eq!(checker, Some("invariant"), "{canary:?} in {seeds} seeds");
}

/// Packages name the feature in their manifests; only the simulation may switch it on.
#[test]
fn only_the_simulation_has_canaries_in_its_cores() {
    fn visit(dir: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(dir).expect("a directory").flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let is_skipped = name.to_str().is_none_or(|n| n.starts_with('.') || n == "target");
            if path.is_dir() && !is_skipped && name != "node_modules" {
                visit(&path, found);
            } else if name == "Cargo.toml" {
                let text = std::fs::read_to_string(&path).expect("a manifest");
                let uses = text.lines().any(|line| line.contains("\"canary\""));
                found.extend(uses.then(|| path.display().to_string()));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("a workspace");
    let mut found = Vec::new();
    visit(root, &mut found);
    assert_eq!(found, [root.join("tests/sim/Cargo.toml").display().to_string()]);
}

macro_rules! canaries {
    (
        $($name:ident: $canary:ident within $seeds:literal,)*
        @inside $($inner_name:ident: $part:ident::$inner:ident within $inner_seeds:literal,)*
    ) => {
        $(
            #[test]
            fn $name() {
                is_caught_within(Canary::$canary, $seeds);
            }
        )*
        $(
            #[test]
            fn $inner_name() {
                is_caught_by_check_within(Canary::$part($part::$inner), $inner_seeds);
            }
        )*

        #[test]
        fn no_canary_is_forgotten() {
            let held = [$(Canary::$canary,)* $(Canary::$part($part::$inner),)*];
            for canary in Canary::ALL {
                assert!(held.contains(&canary), "{canary:?} is not held");
            }
        }
    };
}

canaries! {
    a_lost_fan_out_is_caught: DropFanOut within 40,
    a_doubled_fan_out_is_caught: DoubleFanOut within 40,
    swapped_deliveries_are_caught: SwapDeliveries within 40,
    lost_leaves_are_caught: DropLeave within 60,
    answers_to_the_next_session_are_caught: WrongGeneration within 200,
    a_lost_ack_is_caught: LoseAck within 40,
    a_lost_roster_is_caught: DropRoster within 40,
    a_lost_member_roster_is_caught: DropMemberRoster within 60,
    a_lost_read_mark_is_caught: DropReading within 60,
    a_lost_tip_is_caught: DropTip within 60,
    one_lane_for_both_directions_is_caught: OneLane within 200,
    a_lane_without_its_bound_is_caught: LaneTooRoomy within 200,
    a_message_stored_and_refused_is_caught: StoreAppliesThenRefuses within 40,
    forgotten_client_ids_are_caught: ForgetCids within 60,
    swapped_ids_are_caught: StoreSwapsIds within 60,
    lost_bytes_are_caught: DropBytes within 40,
    a_stale_answer_is_caught: StaleAnswer within 40,
    forgotten_deadlines_are_caught: ForgetDeadlines within 40,
    a_number_given_twice_is_caught: NumberTwice within 40,
    a_fetch_without_an_answer_is_caught: FetchNothing within 40,
    a_lost_arrival_is_caught: DropPresent within 40,
    a_departure_that_is_not_sent_is_caught: KeepPresent within 40,
    a_dead_node_that_lives_on_is_caught: DropNodeGone within 40,
    lost_messages_of_other_nodes_are_caught: DropMessages within 40,
    a_session_that_stays_in_the_map_is_caught: KeepConnection within 40,
    @inside
    a_pipe_listed_twice_is_caught: Engine::ListPipeTwice within 40,
    a_holder_of_bytes_that_were_released_is_caught: Engine::KeepHolder within 40,
    uncounted_bytes_of_a_poll_are_caught: Engine::UncountedPollBytes within 40,
    a_missing_connect_timer_is_caught: Engine::NoConnectTimer within 200,
    an_account_that_outlives_its_session_is_caught: Engine::KeepAccount within 40,
    a_tip_without_a_deadline_is_caught: Chat::KeepTip within 40,
    a_poll_that_outlives_its_session_is_caught: Engine::KeepPoll within 40,
    uncounted_pending_bytes_are_caught: Chat::UncountedPendingBytes within 40,
    a_room_listed_twice_is_caught: Chat::ListRoomTwice within 40,
    a_receiver_that_left_is_caught: Chat::KeepReceiver within 60,
    a_lookup_that_is_over_and_stays_listed_is_caught: Chat::KeepAsking within 40,
    a_remote_user_that_left_is_caught: Chat::KeepRemote within 40,
}
