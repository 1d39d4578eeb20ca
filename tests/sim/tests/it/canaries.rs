//! Each deliberate defect is caught within a stated number of seeds. README.md has the measured
//! rates; the numbers here leave room for the rare ones.

use throng_sim::canary::Canary;
use throng_sim::run::{Options, quiet_panics, run_seed};

fn is_caught_within(canary: Canary, seeds: u64) {
    quiet_panics();
    let (nodes, shards) = if canary.is_of_cluster() { (2, 1) } else { (1, 3) };
    let options = Options { nodes, canary: Some(canary), ..Options::new(shards) };
    let caught = (0..seeds).any(|seed| run_seed(seed, options).violation.is_some());
    assert!(caught, "{canary:?} was not caught in {seeds} seeds");
}

macro_rules! canaries {
    ($($name:ident: $canary:ident within $seeds:literal,)*) => {
        $(
            #[test]
            fn $name() {
                is_caught_within(Canary::$canary, $seeds);
            }
        )*

        #[test]
        fn no_canary_is_forgotten() {
            let held = [$(Canary::$canary),*];
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
    answers_to_the_next_tenant_are_caught: WrongGeneration within 200,
    a_lost_ack_is_caught: LoseAck within 40,
    a_lost_roster_is_caught: DropRoster within 40,
    a_lost_snapshot_is_caught: DropSnapshot within 60,
    a_lost_read_mark_is_caught: DropReading within 60,
    a_lost_tip_is_caught: DropTip within 60,
    one_lane_for_both_directions_is_caught: OneLane within 200,
    a_lane_without_its_bound_is_caught: LaneTooRoomy within 200,
    a_message_stored_and_refused_is_caught: StoreAppliesThenRefuses within 40,
    swapped_ids_are_caught: StoreSwapsIds within 60,
    lost_bytes_are_caught: DropBytes within 40,
    a_stale_answer_is_caught: StaleAnswer within 40,
    forgotten_deadlines_are_caught: ForgetDeadlines within 40,
    a_number_given_twice_is_caught: NumberTwice within 40,
    a_fetch_without_an_answer_is_caught: FetchNothing within 40,
    an_unheard_arrival_is_caught: DropPresent within 40,
    an_untold_departure_is_caught: KeepPresent within 40,
    a_dead_node_that_lives_on_is_caught: DropNodeGone within 40,
    unheard_messages_are_caught: DropMessages within 40,
    a_session_that_stays_in_the_map_is_caught: KeepConnection within 40,
}
