//! Events of other programs.

use super::*;

fn emit(world: &mut World, to: Option<&[Audience]>, except: &[Audience]) {
    world.cluster(ClusterInput::Emit(Arc::new(Emit {
        to: to.map(Into::into),
        except: except.into(),
        event: r#"["news",{"a":1}]"#.into(),
    })));
}

#[test]
fn an_emitted_event_reaches_its_audience_once() {
    on_shards(|shards| {
        let mut world = World::new(shards, cluster());
        let far = usize::from(shards) - 1;
        let alice = world.connect(0, Some(1));
        let bob = world.connect(far, Some(2));
        let carol = world.connect(0, Some(3));
        let stranger = world.connect(far, None);
        room(alice, &mut world, 1);
        room(alice, &mut world, 2);
        room(bob, &mut world, 2);
        let (one, two) = (Audience::Room(RoomId(1)), Audience::Room(RoomId(2)));
        let user = |id| Audience::User(UserId(id));
        let everyone = [alice, bob, carol, stranger];
        let mut check = |to: Option<&[Audience]>, except: &[Audience], want: [usize; 4]| {
            for client in everyone {
                world.take(client);
            }
            emit(&mut world, to, except);
            let expected = r#"42["news",{"a":1}]"#;
            let got =
                everyone.map(|client| world.take(client).iter().filter(|m| *m == expected).count());
            assert_eq!(got, want, "to {to:?} except {except:?} on {shards} shards");
        };
        check(Some(&[one]), &[], [1, 0, 0, 0]);
        check(Some(&[one, two, two, user(1)]), &[], [1, 1, 0, 0]);
        check(Some(&[user(3), user(99)]), &[], [0, 0, 1, 0]);
        check(Some(&[two]), &[one], [0, 1, 0, 0]);
        check(Some(&[Audience::Room(RoomId(404))]), &[], [0, 0, 0, 0]);
        check(Some(&[]), &[], [0, 0, 0, 0]);
        check(None, &[], [1, 1, 1, 1]);
        check(None, &[two, user(3)], [0, 0, 0, 1]);
    });
}

#[test]
fn who_does_not_read_emitted_events_is_evicted() {
    let mut world = World::new(
        1,
        Settings {
            engine: throng_engine::Settings {
                outbound_bytes_max: 20_000,
                ..throng_engine::Settings::default()
            },
            ..cluster()
        },
    );
    let slow = world.connect(0, Some(1));
    world.stop_reading(slow, true);
    for _ in 0..30 {
        world.cluster(ClusterInput::Emit(Arc::new(Emit {
            to: None,
            except: Box::default(),
            event: format!(r#"["news","{}"]"#, "x".repeat(1000)).into(),
        })));
    }
    assert_eq!(world.counter("evictions"), 1);
}
