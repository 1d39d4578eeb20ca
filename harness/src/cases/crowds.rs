//! Chapter 5: many users who join and leave at once.

use super::prelude::*;

cases! {
    leaves_at_once "pres.leaves-at-once" ["PRES-21", "PRES-4", "PRES-24", "PRES-23"] over EVERY needs CHAT
        does "leaves with six users at the same moment, repeatedly"
        expects "the last roster contains exactly the remaining users";
    burst_converges "pres.burst-converges" ["PRES-4", "PRES-23", "PRES-24", "PRES-50", "PRES-51"] over ONLY_E4W needs CHAT
        does "joins with 24 users at once and leaves with half of them at once"
        expects "every remaining member's last roster is correct within the bound";
    above_100 "pres.above-100" ["PRES-4", "PRES-12", "PRES-53"] over ONLY_E4W needs CHAT
        does "joins one room with 104 users"
        expects "the roster contains all of them";
    budget "pres.budget" ["PRES-52", "PRES-53", "PRES-54", "PRES-55", "PRES-56", "LIM-17"] over ONLY_E4W needs CHAT
        does "joins and leaves a room of 40 members continuously while messages are sent"
        expects "roster traffic stays within the budget, acks and messages are prompt, and the last roster is correct";
}

fn leaves_at_once(context: &Context) -> Outcome {
    let (room, watcher) = guest_in_room(context)?;
    let guests = crowd(context, 6)?;
    let all_users = [users_of(&guests), vec![watcher.user.id]].concat();
    for round in 0..4 {
        join_all(&guests, room)?;
        watcher.roster_of(room, &all_users)?;
        context.step(format!("round {round}: six leave at once"));
        let left = together(&guests, |_, guest| guest.emit("roomout", json!({ "roomid": room })));
        left.into_iter().collect::<Result<(), _>>()?;
        context.eventually("a roster with the watcher alone", || {
            Ok(watcher.roster(room) == [watcher.user.id])
        })?;
        watcher.socket.skip();
    }
    Ok(())
}

fn burst_converges(context: &Context) -> Outcome {
    let room = context.room()?;
    let crowd = crowd(context, 24)?;
    join_at_once(&crowd, room)?;
    let (leave, stay) = crowd.split_at(12);
    for (index, guest) in leave.iter().enumerate() {
        if index % 2 == 0 {
            guest.emit("roomout", json!({ "roomid": room }))?;
        } else {
            guest.socket.hang_up();
        }
    }
    let wanted = sorted(&users_of(stay));
    for guest in stay {
        context.eventually("the roster at rest", || Ok(guest.roster(room) == wanted))?;
    }
    for guest in stay.iter().take(3) {
        equal("the last roster", &last_roster(context, guest, room), &wanted)?;
    }
    Ok(())
}

fn above_100(context: &Context) -> Outcome {
    let room = context.room()?;
    let watcher = context.observer("watcher")?;
    watcher.join_as(room, "count")?;
    let crowd = crowd(context, 103)?;
    for guest in &crowd {
        guest.socket.emit("room", &[json!({ "roomid": room, "presence": "count" })])?;
    }
    watcher.online(104)?;
    let last = observer_in(context, room, "last")?;
    let event = last.event("room")?;
    let mut wanted = users_of(&crowd);
    wanted.extend([watcher.user.id, last.user.id]);
    users_are("the users in the roster", event.arg(0), &wanted)?;
    has_fields(event.arg(1), json!({ "online": 105 }))
}

fn budget(context: &Context) -> Outcome {
    let room = context.room()?;
    let (crowd, movers) = (crowd(context, 40)?, crowd(context, 4)?);
    join_at_once(&crowd, room)?;
    let start = Instant::now();
    let mut slowest = Duration::ZERO;
    for index in 0..40 {
        let mover = &movers[index % movers.len()];
        let before = Instant::now();
        if index / movers.len() % 2 == 0 {
            mover.join(room)?
        } else {
            mover.leave(room)?
        };
        slowest = slowest.max(before.elapsed());
        let before = Instant::now();
        crowd[0].say_to(&crowd[39], room, &format!("prompt {index}"))?;
        slowest = slowest.max(before.elapsed());
    }
    let took = start.elapsed();
    let bytes: usize = crowd
        .iter()
        .flat_map(|guest| guest.socket.events())
        .filter(|event| is_roster_of(event, room))
        .map(|event| event.args.iter().map(|arg| arg.to_string().len()).sum::<usize>() + 16)
        .sum();
    let allowed = 33_554_432.0 * took.as_secs_f64().max(10.0);
    require((bytes as f64) <= allowed, "roster traffic within 32 MiB/s", || {
        format!("{bytes} bytes in {took:?}")
    })?;
    require(slowest < Duration::from_secs(3), "prompt acks and messages", || {
        format!("the slowest took {slowest:?}")
    })?;
    for mover in &movers {
        mover.leave(room)?;
    }
    let wanted = sorted(&users_of(&crowd));
    let dead = crowd.iter().find_map(|guest| guest.socket.ending());
    nothing("no session lost", dead)?;
    equal("the roster at rest", &last_roster(context, &crowd[30], room), &wanted)
}
