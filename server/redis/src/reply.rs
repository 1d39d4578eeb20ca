//! Values of Redis as texts, fields and entries of streams.

use redis::Value;
use throng_cluster::{EntryId, Fields, StreamEntries};

use crate::failure::Failure;

/// Bytes that are not UTF-8 were not written by us; they are replaced by U+FFFD.
pub(crate) fn text(value: Value) -> Result<String, Failure> {
    let bytes: Vec<u8> = redis::from_redis_value(value)?;
    Ok(String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

pub(crate) fn optional_text(value: Value) -> Result<Option<String>, Failure> {
    match value {
        Value::Nil => Ok(None),
        value => text(value).map(Some),
    }
}

pub(crate) fn texts(value: Value) -> Result<Vec<String>, Failure> {
    sequence(value)?.into_iter().map(text).collect()
}

/// `[name, value, …]`, or a map.
pub(crate) fn fields(value: Value) -> Result<Fields, Failure> {
    let pairs = value.into_map_iter().map_err(|_| Failure::Unexpected)?;
    pairs.map(|(name, value)| Ok((text(name)?, text(value)?))).collect()
}

/// `[[stream, [[id, [name, value, …]], …]], …]`, or nil.
pub(crate) fn streams(value: Value) -> Result<Vec<StreamEntries>, Failure> {
    if value == Value::Nil {
        return Ok(Vec::new());
    }
    let streams = sequence(value)?.into_iter().map(|stream| {
        let [stream, entries] = pair(stream)?;
        let entries = sequence(entries)?.into_iter().map(entry).collect::<Result<_, _>>()?;
        Ok(StreamEntries { stream: text(stream)?, entries })
    });
    streams.collect()
}

fn entry(value: Value) -> Result<(EntryId, Fields), Failure> {
    let [id, values] = pair(value)?;
    let id = EntryId::parse(&text(id)?).ok_or(Failure::Unexpected)?;
    // An entry that was deleted while a consumer group held it has no fields.
    Ok((id, if values == Value::Nil { Vec::new() } else { fields(values)? }))
}

fn pair(value: Value) -> Result<[Value; 2], Failure> {
    sequence(value)?.try_into().map_err(|_| Failure::Unexpected)
}

fn sequence(value: Value) -> Result<Vec<Value>, Failure> {
    value.into_sequence().map_err(|_| Failure::Unexpected)
}
