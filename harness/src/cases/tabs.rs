//! Chapter 4: several sessions of one user, and how sessions end.

use super::prelude::*;

cases! {
    all_tabs_hear "tabs.all-hear" ["CHAT-70", "PRES-5"] over EVERY needs CHAT
        does "joins with three sessions of one user"
        expects "each session gets each message; the roster has one entry for the user";
    one_tab_leaves "tabs.one-leaves" ["CHAT-71", "CHAT-72", "PRES-12", "PRES-22"] over EVERY needs CHAT
        does "joins with two sessions of one user and ends one by roomout, by close and by reset"
        expects "the user stays present, no roster event is sent, the other session still gets messages";
    every_way "end.every-way" ["CHAT-80", "CHAT-81", "CHAT-50", "PRES-27", "LIM-19"] over EVERY needs CHAT
        does "ends sessions in a room by close, by 41, by FIN and by RST"
        expects "the other members see each user leave at once";
}

fn all_tabs_hear(context: &Context) -> Outcome {
    let room = context.room()?;
    let user = context.user()?;
    let witness = observer_in(context, room, "witness")?;
    let tabs =
        [context.chat(&user, "tab1")?, context.chat(&user, "tab2")?, context.chat(&user, "tab3")?];
    join_all(&tabs, room)?;
    let event = witness.roster_of(room, &[witness.user.id, user.id])?;
    has_fields(event.arg(1), json!({ "online": 2 }))?;
    tabs[0].say(room, "from the first tab")?;
    for tab in &tabs {
        let event = tab.message_with("from the first tab")?;
        equal("userid on the author's own sessions", &event["userid"], &json!(user.email))?;
    }
    witness.say(room, "to all tabs")?;
    all_hear(&tabs, "to all tabs")?;
    Ok(())
}

fn one_tab_leaves(context: &Context) -> Outcome {
    let (room, witness) = watched_room(context)?;
    let user = context.user()?;
    let stays = context.chat(&user, "stays")?;
    has_fields(&stays.join(room)?, json!({ "online": 2 }))?;
    witness.roster_of(room, &[witness.user.id, user.id])?;
    context.pause(QUIET);
    for way in ["roomout", "close", "RST"] {
        context.step(format!("a second tab joins and ends by {way}"));
        let seen = witness.socket.event_count();
        let mut tab = context.chat(&user, "tab")?;
        has_fields(&tab.join(room)?, json!({ "online": 2 }))?;
        tab.end_by(way, room)?;
        no_roster_since(context, &witness, seen, room)?;
        witness.say_to(&stays, room, &format!("after {way}"))?;
        stays.say(room, &format!("still here after {way}"))?;
    }
    has_fields(&witness.join(room)?, json!({ "online": 2 }))?;
    stays.leave(room)?;
    witness.roster_of(room, &[witness.user.id])?;
    Ok(())
}

fn every_way(context: &Context) -> Outcome {
    let (room, witness) = watched_room(context)?;
    for way in ["close", "41", "FIN", "RST"] {
        context.step(way);
        let mut guest = guest_in(context, room)?;
        witness.roster_of(room, &[witness.user.id, guest.user.id])?;
        let start = Instant::now();
        guest.end_by(way, room)?;
        sees_leave(&witness, room, &[witness.user.id])?;
        within("at once", start, Duration::from_millis(2_500))?;
    }
    Ok(())
}
