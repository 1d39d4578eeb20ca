//! Settings that ask for what another one prevents. The server starts all the same: each is a warning.

use super::Config;

/// A sentence for each of them. `has_redis_url`: the operator wrote one.
pub fn find(config: &Config, has_redis_url: bool) -> Vec<String> {
    let Config { server, chat, rest, backplane, .. } = config;
    let mut found = Vec::new();
    found.extend(server.log_filter.silence());
    if server.list.is_empty() && chat.auto_create_max == 0 {
        found.push(
            "rooms.list is empty and rooms.auto_create_max is 0: there are only the rooms that the database has"
                .into(),
        );
    }
    let max_payload = chat.engine.max_payload;
    if base64_bytes(chat.image_bytes_max) > u64::from(max_payload) {
        found.push(format!(
            "limits.image_bytes_max is {} and max_payload is {max_payload}: an image of that size does not fit a \
             message, because base64 makes it a third longer",
            chat.image_bytes_max
        ));
    }
    if rest.upload_bytes_max < chat.image_bytes_max as usize {
        found.push(format!(
            "http.upload_bytes_max is {} and limits.image_bytes_max is {}: an image of that size cannot be uploaded",
            rest.upload_bytes_max, chat.image_bytes_max
        ));
    }
    if chat.message_chars_max > chat.event_bytes_max {
        found.push(format!(
            "limits.message_chars_max is {} and limits.event_bytes_max is {}: a message of that length does not fit \
             an event",
            chat.message_chars_max, chat.event_bytes_max
        ));
    }
    if has_redis_url && backplane.is_none() {
        found.push("redis.url is set and rooms.driver is table: Redis is not used".into());
    }
    found
}

/// The length of an image's text, without what stands around it.
fn base64_bytes(bytes: u32) -> u64 {
    u64::from(bytes).div_ceil(3) * 4
}
