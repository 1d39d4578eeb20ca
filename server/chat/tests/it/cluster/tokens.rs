//! Logouts on other nodes that were not reported to this one.

use super::*;
use crate::world::token;

const LOGIN: &str = r#"42["login","Login to enter chat room"]"#;

/// The user logs out on another node, and that is not reported to this one.
fn forget(world: &mut World, user: u32) {
    world.store.tokens.retain(|_, of| *of != UserId(user));
}

#[test]
fn a_logout_that_was_missed_is_found_by_the_store() {
    on_shards(|shards| {
        let mut world = World::new(shards, cluster());
        let (alice, phone) =
            (world.connect(0, Some(1)), world.connect(usize::from(shards) - 1, Some(1)));
        let bob = world.connect(0, Some(2));
        for client in [alice, phone, bob] {
            room(client, &mut world, 1);
        }
        forget(&mut world, 1);
        world.store.is_down = true;
        world.cluster(ClusterInput::Resync);
        world.advance(900);
        for client in [alice, phone, bob] {
            world.take(client);
        }
        world.store.is_down = false;
        world.advance(2_000);
        for client in [alice, phone] {
            assert!(world.take(client).contains(&LOGIN.to_owned()), "on {shards} shards");
        }
        assert!(!world.take(bob).contains(&LOGIN.to_owned()));
        say(bob, &mut world, 1, "still here");
        assert!(world.take(bob).concat().contains("still here"));
    });
}

#[test]
fn a_token_that_is_being_looked_up_is_asked_for_too() {
    let mut world = World::new(1, cluster());
    let alice = world.connect(0, None);
    world.store.is_paused = true;
    world.send(alice, &format!(r#"42["login",{{"api_token":"{}"}}]"#, token(1)));
    world.cluster(ClusterInput::Resync);
    world.store.is_paused = false;
    world.advance(1_000);
    assert_eq!(world.store.checks, [1]);
    assert!(world.take(alice).concat().contains("count"), "it has not ended");
}

#[test]
fn tokens_are_asked_for_once_each_and_some_at_a_time() {
    let mut world = World::new(1, cluster());
    for user in 1..=512 + 3 {
        if user as usize > world.store.users.len() {
            world.store.add_user();
        }
        world.connect(0, Some(user));
    }
    world.connect(0, Some(1));
    world.cluster(ClusterInput::Resync);
    world.advance(1_000);
    assert_eq!(world.store.checks, [512, 3]);
}
