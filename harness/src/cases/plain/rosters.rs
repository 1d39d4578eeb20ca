//! Chapter 12: rosters.

use super::scenes::*;
use crate::cases::prelude::*;

cases! {
    roster "events.roster" ["EVT-20", "EVT-24"] over EVERY needs ROSTER
        does "joins a room with three others, one after the other"
        expects "after each join all members receive a roster of exactly the members";
    roster_of_leave "events.roster-of-leave" ["EVT-21"] over EVERY needs LEAVE_AND_ROSTER
        does "leaves rooms first, last and in between"
        expects "after each leave the others receive a roster of exactly who remains";
    roster_of_two "events.roster-of-two" ["EVT-20", "EVT-24"] over EVERY needs ROSTER
        does "joins a room twice"
        expects "one entry in the roster, and none after one leave, where there is a leave";
    roster_outside "events.roster-outside" ["EVT-6", "EVT-23"] over EVERY needs LEAVE_AND_ROSTER
        does "leaves a room that it is not in, then a third session joins it"
        expects "the roster has exactly the members";
    disconnect "events.end.disconnect" ["EVT-4", "EVT-22"] over EVERY needs ROSTER
        does "is in two rooms, and sends a Socket.IO DISCONNECT"
        expects "the members of both rooms receive rosters without it";
    close "events.end.close" ["EVT-4", "EVT-22"] over EVERY needs ROSTER
        does "is in two rooms, and closes its WebSocket in order, or sends a close packet by polling"
        expects "the members of both rooms receive rosters without it";
    cut "events.end.cut" ["EVT-4", "EVT-22"] over WEBSOCKET needs ROSTER
        does "is in two rooms, and ends TCP with FIN and with RST"
        expects "the members of both rooms receive rosters without it";
    upgraded "events.end.upgraded" ["EVT-4", "EVT-22"] over POLLING needs UPGRADE_AND_ROSTER
        does "is in two rooms, moves from polling to a WebSocket, and ends TCP with FIN"
        expects "the members of both rooms receive rosters without it";
    silence "events.end.silence" ["EVT-4", "EVT-22"] over EVERY needs ROSTER
        does "is in two rooms, and reads and answers nothing any more"
        expects "the members of both rooms receive rosters without it once its heartbeat has timed out";
    last_member "events.end.last-member" ["EVT-4", "EVT-23"] over EVERY needs ROSTER
        does "the only member of a room ends; then another session joins it"
        expects "a roster with the new member only";
    joining "events.end.joining" ["EVT-4", "EVT-23"] over WEBSOCKET needs ROSTER
        does "joins and ends TCP at once, eight times"
        expects "none of these sessions stays in the roster";
    roster_of_repeats "events.roster-of-repeats" ["EVT-23"] over EVERY needs LEAVE_AND_ROSTER
        does "joins and leaves ten times without waiting, ending once outside and once inside"
        expects "the last roster is right both times";
    concurrent "events.concurrent" ["EVT-23"] over EVERY needs LEAVE_AND_ROSTER
        does "eight sessions join at the same moment; then four stay, two leave and two end at the same moment"
        expects "at rest every member has a roster of exactly the members";
    of_others "events.roster-of-others" ["EVT-25"] over EVERY needs LEAVE_AND_ROSTER
        does "a session joins a room that another one has left, and that a third is not in"
        expects "neither of them receives its roster";
}

fn roster(context: &Context) -> Outcome {
    let room = context.room_name();
    let sessions = [
        context.watcher("one")?,
        context.member("two")?,
        context.watcher("three")?,
        context.member("four")?,
    ];
    let mut members: Vec<&Member> = Vec::new();
    for session in &sessions {
        joins(session, &room)?;
        members.push(session);
        roster_is("EVT-20", &members, &room, &members)?;
    }
    Ok(())
}

fn roster_of_leave(context: &Context) -> Outcome {
    let room = context.room_name();
    let sessions = (0..5)
        .map(|index| context.member(&format!("member-{index}")))
        .collect::<Result<Vec<Member>, Stop>>()?;
    let mut members: Vec<&Member> = sessions.iter().collect();
    all_join(&members, &room)?;
    roster_is("EVT-20", &members, &room, &members)?;
    // The first, the last and one in between.
    for index in [0, 3, 1] {
        let leaving = members.remove(index);
        leaves(leaving, &room)?;
        roster_is("EVT-21", &members, &room, &members)?;
    }
    Ok(())
}

fn roster_of_two(context: &Context) -> Outcome {
    let room = context.room_name();
    let (guest, watcher) = (context.member("guest")?, context.watcher("watcher")?);
    joins(&watcher, &room)?;
    joins(&guest, &room)?;
    guest.join(&room)?;
    context.pause(QUIET);
    roster_is("EVT-20", &[&watcher, &guest], &room, &[&watcher, &guest])?;
    if context.run.lacks(LEAVE).is_none() {
        leaves(&guest, &room)?;
        roster_is("EVT-21", &[&watcher], &room, &[&watcher])?;
    }
    Ok(())
}

fn roster_outside(context: &Context) -> Outcome {
    let room = context.room_name();
    let outsider = context.member("outsider")?;
    let (one, two) = (context.watcher("one")?, context.watcher("two")?);
    joins(&one, &room)?;
    // Refused or not.
    outsider.leave(&room)?;
    joins(&two, &room)?;
    roster_is("EVT-6", &[&one, &two], &room, &[&one, &two])
}

/// A session in two rooms with a watcher in each ends as `end` does it.
fn ends(context: &Context, end: impl FnOnce(&mut Member) -> Outcome) -> Outcome {
    let rooms = [context.room_name(), context.room_name()];
    let mut guest = context.member("guest")?;
    let watchers = [context.watcher("in-one")?, context.watcher("in-two")?];
    for (room, watcher) in rooms.iter().zip(&watchers) {
        all_join(&[watcher, &guest], room)?;
        roster_is("EVT-20", &[watcher], room, &[watcher, &guest])?;
    }
    end(&mut guest)?;
    for (room, watcher) in rooms.iter().zip(&watchers) {
        roster_is("EVT-22", &[watcher], room, &[watcher])?;
    }
    Ok(())
}

fn disconnect(context: &Context) -> Outcome {
    ends(context, |guest| Ok(guest.socket.disconnect()?))
}

fn close(context: &Context) -> Outcome {
    ends(context, |guest| {
        guest.socket.close_transport();
        if guest.socket.transport() == Transport::Websocket {
            // A client ends TCP once its close frame is answered.
            guest.socket.wait_end(CLOSES);
            guest.socket.hang_up();
        }
        Ok(())
    })
}

fn cut(context: &Context) -> Outcome {
    for way in ["FIN", "RST"] {
        context.step(way);
        ends(context, |guest| Ok(guest.socket.end_by(way)?))?;
    }
    Ok(())
}

fn upgraded(context: &Context) -> Outcome {
    ends(context, |guest| {
        guest.socket.upgrade()?;
        guest.fence()?;
        Ok(guest.socket.end_by("FIN")?)
    })
}

fn silence(context: &Context) -> Outcome {
    let bound = context.capabilities().silence_bound();
    context.affordable(bound)?;
    ends(context, |guest| {
        guest.socket.mute();
        context.pause(bound);
        Ok(())
    })
}

fn last_member(context: &Context) -> Outcome {
    let room = context.room_name();
    let (guest, next) = (context.member("guest")?, context.watcher("next")?);
    joins(&guest, &room)?;
    guest.socket.close();
    context.pause(QUIET);
    joins(&next, &room)?;
    roster_is("EVT-23", &[&next], &room, &[&next])
}

fn joining(context: &Context) -> Outcome {
    let room = context.room_name();
    let watcher = context.watcher("watcher")?;
    joins(&watcher, &room)?;
    for index in 0..8 {
        let mut guest = context.member(&format!("guest-{index}"))?;
        guest.send_join(&room)?;
        guest.socket.end_by("FIN")?;
    }
    context.pause(QUIET);
    watcher.fence()?;
    roster_is("EVT-23", &[&watcher], &room, &[&watcher])?;
    // It stays so: a join that the server works on for longer must not bring one of them back.
    context.pause(QUIET);
    roster_is("EVT-23", &[&watcher], &room, &[&watcher])
}

fn roster_of_repeats(context: &Context) -> Outcome {
    const TURNS: usize = 10;
    let room = context.room_name();
    let (guest, watcher) = (context.member("guest")?, context.watcher("watcher")?);
    joins(&watcher, &room)?;
    for stays in [false, true] {
        let mut asked = Vec::new();
        for _ in 0..TURNS {
            asked.extend([guest.send_join(&room)?, guest.send_leave(&room)?]);
        }
        if stays {
            asked.push(guest.send_join(&room)?);
        }
        asked.iter().try_for_each(|id| guest.answer(*id).map(drop))?;
        context.pause(QUIET);
        watcher.fence()?;
        let members = if stays { vec![&watcher, &guest] } else { vec![&watcher] };
        roster_is("EVT-23", &[&watcher], &room, &members)?;
    }
    Ok(())
}

fn concurrent(context: &Context) -> Outcome {
    let room = context.room_name();
    let mut sessions = (0..8)
        .map(|index| context.member(&format!("member-{index}")))
        .collect::<Result<Vec<Member>, Stop>>()?;
    let joined = together(&sessions, |_, session| joins(session, &room));
    joined.into_iter().collect::<Outcome>()?;
    let members: Vec<&Member> = sessions.iter().collect();
    roster_is("EVT-23", &members, &room, &members)?;
    let acted = together(&sessions, |index, session| match index {
        0..4 => Ok(()),
        4 | 5 => leaves(session, &room),
        _ => {
            session.socket.close();
            Ok(())
        }
    });
    acted.into_iter().collect::<Outcome>()?;
    sessions.truncate(6);
    let members: Vec<&Member> = sessions.iter().take(4).collect();
    roster_is("EVT-23", &members, &room, &members)?;
    context.pause(QUIET);
    roster_is("EVT-23", &members, &room, &members)
}

fn of_others(context: &Context) -> Outcome {
    let (room, elsewhere) = (context.room_name(), context.room_name());
    let (left, outsider) = (context.member("left")?, context.member("outsider")?);
    let (one, two) = (context.watcher("one")?, context.watcher("two")?);
    if !one.rosters_name_rooms() {
        return skip("rosters do not say which room they are of");
    }
    joins(&outsider, &elsewhere)?;
    all_join(&[&one, &left], &room)?;
    leaves(&left, &room)?;
    roster_is("EVT-21", &[&one], &room, &[&one])?;
    context.pause(QUIET);
    left.fence()?;
    let before = left.roster_count(&room);
    joins(&two, &room)?;
    roster_is("EVT-20", &[&one, &two], &room, &[&one, &two])?;
    context.pause(QUIET);
    for (who, session, before) in [("who left", &left, before), ("an outsider", &outsider, 0)] {
        session.fence()?;
        let count = session.roster_count(&room) - before;
        require(count == 0, &format!("EVT-25: no roster of the room for {who}"), || {
            format!("{count} rosters, the last {}", shown(&session.roster(&room)))
        })?;
    }
    Ok(())
}
