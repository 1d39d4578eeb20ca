//! The list of rooms, and their history.

use std::collections::HashMap;

use axum::extract::State;
use axum::http::request::Parts;
use axum::response::Response;
use serde_json::{Value, json};
use throng_store::MessageRow;

use crate::Api;
use crate::answer::{Refusal, ok};
use crate::deps::RoomPresence;
use crate::identity::{Identity, identify};
use crate::input::query_number;

pub(crate) async fn list(State(api): State<Api>, parts: Parts) -> Result<Response, Refusal> {
    let Identity { user, .. } = identify(&api, &parts, None).await?;
    let store = &api.deps.store;
    // In this order a user who leaves meanwhile is either still present here, or their read mark is
    // in the queue that `flush` waits for.
    let rooms = store.rooms().await?;
    let ids: Vec<u32> = rooms.iter().map(|room| room.id).collect();
    let present = (api.deps.rooms)(user.id, &ids);
    store.flush().await?;
    // The same order for sessions on other nodes: a user who stopped reading has a read mark.
    let elsewhere = store.reading(user.id).await?;
    let reads: HashMap<u32, u64> = store.reads(user.id).await?.into_iter().collect();
    let rooms: Vec<Value> = rooms
        .into_iter()
        .zip(present)
        .map(|(room, RoomPresence { online, is_present })| {
            let read_seq = reads.get(&room.id).copied().unwrap_or(0);
            let unread = if is_present || elsewhere.contains(&room.id) {
                0
            } else {
                room.last_seq.saturating_sub(read_seq)
            };
            json!({
                "id": room.id,
                "name": room.name,
                "online": online,
                "seq": room.last_seq,
                "unread": unread,
            })
        })
        .collect();
    Ok(ok(json!({ "errno": 0, "rooms": rooms })))
}

pub(crate) async fn history(State(api): State<Api>, parts: Parts) -> Result<Response, Refusal> {
    let identity = identify(&api, &parts, None).await?;
    let query = parts.uri.query().unwrap_or("");
    let current = query_number(query, "current");
    let room = u32::try_from(query_number(query, "roomid")).unwrap_or(0);
    let refused = json!({ "data": { "errno": 1 } });
    if room == 0 || current == 0 {
        return Ok(ok(refused));
    }
    let anchor_total = query_number(query, "total");
    let Some(page) = api.deps.store.history(room, current, anchor_total).await? else {
        return Ok(ok(refused));
    };
    let rows: Vec<Value> = page.rows.iter().map(|row| message_value(row, &identity)).collect();
    Ok(ok(json!({
        "data": { "errno": 0, "data": rows, "total": page.total, "current": current },
    })))
}

/// Spec: REST-46, REST-48.
fn message_value(row: &MessageRow, reader: &Identity) -> Value {
    let mut value = json!({
        "id": row.id,
        "userid": reader.userid(row.user, &row.email),
        "username": row.name,
        "src": row.avatar,
        "msg": row.msg,
        "img": row.img,
        "roomid": row.room,
        "time": row.time,
        "seq": row.seq,
    });
    if let Some(cid) = row.cid.as_ref().filter(|_| row.user == reader.user.id) {
        value["cid"] = json!(cid);
    }
    value
}
