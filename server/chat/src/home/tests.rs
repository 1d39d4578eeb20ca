use throng_engine::{Keyed, Place, Seed, ShardId};

use super::*;
use crate::store::{AppendFault, Appended};

fn home() -> Home {
    let seed = Seed { placement: [7; 16], random: [0; 32] };
    let place = Place { shard: ShardId(0), shards: 1, seed };
    Home::new(Settings::default(), Arc::default(), &place, Keyed::new([7; 16]))
}

fn one() -> Result<Appended, AppendFault> {
    Ok(Appended { first_seq: Seq(1), ids: vec![1], repeats: Vec::new() })
}

#[test]
fn answers_that_another_answer_overtook_are_counted() {
    let (mut home, mut counters) = (home(), Counters::default());
    home.room_created(RoomId(1), Ok(None), &mut counters);
    home.room_loaded(RoomId(1), Ok(None), &mut counters);
    assert_eq!(counters.stale_replies, 2);
    home.check();
}

#[test]
#[should_panic(expected = "a room is kept while it commits")]
fn a_commit_of_an_unknown_room_is_a_bug() {
    home().appended(RoomId(1), one(), &mut Counters::default());
}

#[test]
#[should_panic(expected = "the store gives every message an id")]
fn a_commit_whose_ids_are_not_those_of_its_messages_is_a_bug() {
    let mut home = home();
    home.add_room(&RoomInfo { id: RoomId(1), name: Box::default(), last_seq: Seq(0) });
    home.appended(RoomId(1), one(), &mut Counters::default());
}

#[test]
#[should_panic(expected = "a mark is kept until its saves are answered")]
fn an_answer_to_a_save_that_was_not_asked_for_is_a_bug() {
    home().read_saved(Now(1), UserId(1), RoomId(1), Ok(()));
}
