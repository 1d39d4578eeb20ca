//! The Lua scripts. Each touches one key, or keys of one hash tag, so that each works on a cluster.

use std::sync::LazyLock;

/// A script and its hash.
pub struct Script(redis::Script, &'static str);

impl Script {
    fn new(text: &'static str) -> Script {
        Script(redis::Script::new(text), text)
    }

    pub(crate) fn sha(&self) -> &str {
        self.0.get_hash()
    }

    pub(crate) fn text(&self) -> &'static str {
        self.1
    }
}

/// `key value ms`: takes a lease that is free, or already ours because the answer to an earlier claim
/// was lost. Answers 1 if the lease is ours.
pub static CLAIM: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local held = redis.call('GET', KEYS[1]) \
         if held and held ~= ARGV[1] then return 0 end \
         redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) return 1",
    )
});

/// `key value ms`: extends the lease if it is ours; answers 1 if so.
pub static RENEW: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end \
         return redis.call('PEXPIRE', KEYS[1], ARGV[2])",
    )
});

/// `key value`: releases the lease if it is ours.
pub static RELEASE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end \
         return redis.call('DEL', KEYS[1])",
    )
});

/// `key user fd`: stores the newest connection of a user, in whatever order they are written. The low
/// 43 bits of an fd are the time of its connection; both numbers are below 2^53, where Lua is exact.
pub static BIND: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local stamp = 8796093022208 \
         local new = tonumber(ARGV[2]) \
         local old = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '') \
         if old and (old % stamp > new % stamp or old % stamp == new % stamp and old >= new) \
         then return 0 end \
         redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) return 1",
    )
});

/// `key user fd`: removes the connection of a user, unless a newer one was stored.
pub static UNBIND: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end \
         return redis.call('HDEL', KEYS[1], ARGV[1])",
    )
});

/// `key prefix`: deletes the fields that begin with the prefix.
pub static DELETE_PREFIX: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local count = 0 \
         for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do \
           if string.sub(field, 1, #ARGV[1]) == ARGV[1] then \
             count = count + redis.call('HDEL', KEYS[1], field) \
           end \
         end \
         return count",
    )
});

/// `counters stream answer_key cid_key … room at_least maxlen cid_ttl answer_ttl count field value …
/// [key json] …`: takes the next numbers of a room for the messages whose `cid_key` (by its place among
/// the keys, 0 for none) is not set, logs them, and sets their keys to their numbers. `count` is that of
/// fields and values. Answers the first number, then per message 0 or the number it had before. Unless
/// `answer_ttl` is 0, the answer is kept under `answer_key`, and the same call does nothing but repeat it.
pub static NUMBER: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local answer = {} \
         local kept = ARGV[5] ~= '0' and redis.call('GET', KEYS[3]) \
         if kept then \
           for number in string.gmatch(kept, '%d+') do answer[#answer + 1] = number end \
           return answer \
         end \
         local last = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0') \
         local first = math.max(last, tonumber(ARGV[2])) + 1 \
         local start = 7 + tonumber(ARGV[6]) \
         local entry, texts, set, next = {}, {}, {}, first \
         answer[1] = string.format('%.0f', first) \
         for i = 7, start - 1 do entry[#entry + 1] = ARGV[i] end \
         for i = start, #ARGV, 2 do \
           local key = tonumber(ARGV[i]) \
           local known = key > 0 and (set[key] or redis.call('GET', KEYS[key])) \
           if known then \
             answer[#answer + 1] = known \
           else \
             if key > 0 then set[key] = string.format('%.0f', next) end \
             texts[#texts + 1] = ARGV[i + 1] \
             answer[#answer + 1] = '0' \
             next = next + 1 \
           end \
         end \
         if next == first then return answer end \
         entry[#entry + 1] = 'd' \
         entry[#entry + 1] = '{\"r\":' .. ARGV[1] .. ',\"m\":[' .. table.concat(texts, ',') .. ']}' \
         entry[#entry + 1] = 'f' \
         entry[#entry + 1] = answer[1] \
         redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], '*', unpack(entry)) \
         redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', next - 1)) \
         for key, number in pairs(set) do redis.call('SET', KEYS[key], number, 'PX', ARGV[4]) end \
         if ARGV[5] ~= '0' then \
           redis.call('SET', KEYS[3], table.concat(answer, ' '), 'PX', ARGV[5]) \
         end \
         return answer",
    )
});
