//! How many tokens that are not valid a client may show in a time, whatever connections, shards and requests
//! it shows them on. Each costs the store a look-up.
//!
//! A look-up is taken from its client's [`Bucket`] before the store is asked, so that many at once are no way
//! around, and given back when the token was valid. Shards share the buckets and no lock: taking is one
//! exchange. Which clients share a bucket is secret.
//!
//! Spec: LIM-91.

use std::hash::BuildHasher;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use throng_engine::{Bucket, Keyed, Now, Rate};
use throng_wire::http::ClientKey;

use crate::settings::Settings;

const BUCKETS: usize = 1 << 16;

/// The buckets of all clients of a process.
#[derive(Debug)]
pub struct InvalidTokens {
    /// `None` is no limit.
    rate: Option<Rate>,
    /// When each bucket is full again.
    full_at: Box<[AtomicU64]>,
}

/// Where the bucket of a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientBucket(u16);

impl InvalidTokens {
    /// Full buckets for everyone.
    #[must_use]
    pub fn new(settings: &Settings) -> InvalidTokens {
        InvalidTokens {
            rate: Rate::per_second(settings.invalid_tokens_per_s, settings.invalid_tokens_burst),
            full_at: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// `keyed`: the same everywhere in a process.
    #[must_use]
    pub fn bucket(keyed: &Keyed, client: ClientKey) -> ClientBucket {
        ClientBucket((keyed.hash_one(client) % BUCKETS as u64) as u16)
    }

    /// Takes the look-up of a token.
    ///
    /// # Errors
    /// The client has to wait so many nanoseconds.
    pub fn take(&self, now: Now, bucket: ClientBucket) -> Result<(), u64> {
        let Some(rate) = &self.rate else { return Ok(()) };
        let after = |full_at: u64| {
            let mut bucket = Bucket::new(Now(full_at));
            bucket.take(rate, now, 1).map(|()| bucket.full_at().0)
        };
        let full_at = &self.full_at[usize::from(bucket.0)];
        let taken = full_at.fetch_update(Relaxed, Relaxed, |full_at| after(full_at).ok());
        taken.map(drop).map_err(|full_at| after(full_at).expect_err("it was refused just now"))
    }

    /// The token was valid, or nobody knows: what was taken for it does not count.
    pub fn give_back(&self, bucket: ClientBucket) {
        let Some(rate) = &self.rate else { return };
        let full_at = &self.full_at[usize::from(bucket.0)];
        let given = full_at.fetch_update(Relaxed, Relaxed, |full_at| {
            let mut bucket = Bucket::new(Now(full_at));
            bucket.give_back(rate, 1);
            Some(bucket.full_at().0)
        });
        given.expect("there is always a value");
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    const NOW: Now = Now(5_000_000_000);

    fn tokens(per_s: u32, burst: u32) -> InvalidTokens {
        InvalidTokens::new(&Settings {
            invalid_tokens_per_s: per_s,
            invalid_tokens_burst: burst,
            ..Settings::default()
        })
    }

    fn bucket(ip: &str) -> ClientBucket {
        let ip: IpAddr = ip.parse().expect("an address");
        InvalidTokens::bucket(&Keyed::new([7; 16]), ip.into())
    }

    #[test]
    fn a_burst_is_looked_up_and_one_more_waits() {
        let (tokens, one) = (tokens(10, 5), bucket("192.0.2.1"));
        (0..5).for_each(|_| assert_eq!(tokens.take(NOW, one), Ok(())));
        assert_eq!(tokens.take(NOW, one), Err(100_000_000));
        assert_eq!(
            tokens.take(NOW.plus_ms(99), one),
            Err(1_000_000),
            "what is refused costs nothing"
        );
        assert_eq!(tokens.take(NOW.plus_ms(100), one), Ok(()));
        assert!(tokens.take(NOW.plus_ms(100), one).is_err());
        assert_eq!(tokens.take(NOW, bucket("192.0.2.2")), Ok(()), "another client has its own");
        assert!(
            tokens.take(NOW, bucket("::ffff:192.0.2.1")).is_err(),
            "the same one written as IPv6"
        );
    }

    #[test]
    fn valid_tokens_do_not_count() {
        let (tokens, one) = (tokens(1, 5), bucket("2001:db8::1"));
        for _ in 0..5000 {
            assert_eq!(tokens.take(NOW, one), Ok(()));
            tokens.give_back(one);
        }
        // As many at once as fit, and no more until one is known to be valid.
        (0..5).for_each(|_| assert_eq!(tokens.take(NOW, one), Ok(())));
        assert!(tokens.take(NOW, one).is_err());
        tokens.give_back(one);
        assert_eq!(tokens.take(NOW, bucket("2001:db8::2")), Ok(()), "of the same network");
        assert!(tokens.take(NOW, one).is_err());
    }

    #[test]
    fn a_shard_whose_clock_is_behind_takes_no_more() {
        let (tokens, one) = (tokens(1, 5), bucket("192.0.2.1"));
        (0..5).for_each(|_| assert_eq!(tokens.take(NOW.plus_ms(40), one), Ok(())));
        assert_eq!(tokens.take(NOW, one), Err(1_040_000_000));
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let (tokens, one) = (tokens(0, 1), bucket("192.0.2.1"));
        (0..1000).for_each(|_| assert_eq!(tokens.take(NOW, one), Ok(())));
        tokens.give_back(one);
    }
}
