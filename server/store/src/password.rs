//! Password hashes: argon2id, and bcrypt of imported users.

use std::sync::Arc;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Params, Version};
use throng_wire::http::ClientKey;

use crate::hash_queue::Urgency;
use crate::hashers::{HashMemory, Hashers};
use crate::{Options, PasswordCost, StoreError, StoreMetrics};

/// Computes hashes, a bounded number at once.
pub(crate) struct Passwords {
    params: Params,
    hashers: Hashers,
    /// Verified against for unknown users, so that they take as long as known ones.
    dummy: Arc<str>,
}

const SALT_BYTES: usize = 16;
const BAD_PARAMETERS: StoreError = StoreError::Corrupt("password hash parameters");

/// Result of a verification.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verification {
    Wrong,
    Right,
    /// Right, but its stored hash is weaker than a new one, which this is.
    Upgrade(String),
}

impl Passwords {
    pub async fn new(options: &Options, metrics: Arc<StoreMetrics>) -> Result<Self, StoreError> {
        let params = match options.password_cost {
            PasswordCost::Standard => Params::default(),
            PasswordCost::Cheapest => Params::new(Params::MIN_M_COST, Params::MIN_T_COST, 1, None)
                .expect("the minima are valid parameters"),
        };
        let hashers = Hashers::start(options, metrics)?;
        // Its hash is no hash of any password, which the time that it takes does not show.
        let dummy = dummy(&params)?.into();
        Ok(Self { params, hashers, dummy })
    }

    pub async fn hash(&self, password: String, client: ClientKey) -> Result<String, StoreError> {
        let params = self.params.clone();
        let hashed = move |memory: &mut HashMemory| hash_with(&params, &password, memory);
        self.hashers.run(Urgency::Other, client, hashed).await?
    }

    /// Checks `password` against `stored`; `None` means an unknown user and is always wrong.
    pub async fn verify(
        &self,
        password: String,
        stored: Option<String>,
        urgency: Urgency,
        client: ClientKey,
    ) -> Result<Verification, StoreError> {
        let params = self.params.clone();
        let is_known = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.dummy.to_string());
        let verified = move |memory: &mut HashMemory| {
            let is_right = matches(&password, &stored, memory);
            if !(is_right && is_known) {
                return Ok(Verification::Wrong);
            }
            if is_weaker(&stored, &params) {
                return hash_with(&params, &password, memory).map(Verification::Upgrade);
            }
            Ok(Verification::Right)
        };
        self.hashers.run(urgency, client, verified).await?
    }
}

fn hash_with(
    params: &Params,
    password: &str,
    memory: &mut HashMemory,
) -> Result<String, StoreError> {
    let salt: [u8; SALT_BYTES] = rand::random();
    let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
        .hash_password_into_with_memory(
            password.as_bytes(),
            &salt,
            &mut output,
            memory.blocks(params.block_count()),
        )
        .map_err(|_| BAD_PARAMETERS)?;
    encode(params, &salt, &output)
}

fn encode(params: &Params, salt: &[u8], output: &[u8]) -> Result<String, StoreError> {
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(params).map_err(|_| BAD_PARAMETERS)?,
        salt: Some(Salt::new(salt).map_err(|_| BAD_PARAMETERS)?),
        hash: Some(Output::new(output).map_err(|_| BAD_PARAMETERS)?),
    };
    Ok(hash.to_string())
}

/// A hash of the same cost that belongs to no password that anyone knows.
fn dummy(params: &Params) -> Result<String, StoreError> {
    let (salt, output): ([u8; SALT_BYTES], [u8; Params::DEFAULT_OUTPUT_LEN]) = rand::random();
    encode(params, &salt, &output)
}

/// Whether a stored password hash is bcrypt.
#[must_use]
pub fn is_bcrypt(stored: &str) -> bool {
    ["$2y$", "$2b$", "$2a$"].iter().any(|prefix| stored.starts_with(prefix))
}

fn matches(password: &str, stored: &str, memory: &mut HashMemory) -> bool {
    if is_bcrypt(stored) {
        return bcrypt::verify(password, stored).unwrap_or(false);
    }
    matches_argon2(password, stored, memory).unwrap_or(false)
}

/// `None`: it is no argon2 hash.
fn matches_argon2(password: &str, stored: &str, memory: &mut HashMemory) -> Option<bool> {
    let hash = PasswordHash::new(stored).ok()?;
    let algorithm = Algorithm::try_from(hash.algorithm.as_str()).ok()?;
    let version = hash.version.map(Version::try_from).transpose().ok()?.unwrap_or_default();
    let params = Params::try_from(&hash).ok()?;
    let (salt, expected) = (hash.salt?, hash.hash?);
    let mut output = vec![0; expected.len()];
    let blocks = memory.blocks(params.block_count());
    Argon2::new(algorithm, version, params)
        .hash_password_into_with_memory(password.as_bytes(), salt.as_ref(), &mut output, blocks)
        .ok()?;
    // Compared in constant time.
    Some(Output::new(&output).ok()? == expected)
}

/// Costs only grow: a server started once with cheap hashes must not weaken stored ones.
fn is_weaker(stored: &str, params: &Params) -> bool {
    if is_bcrypt(stored) {
        return true;
    }
    PasswordHash::new(stored)
        .ok()
        .and_then(|hash| Params::try_from(&hash).ok())
        .is_none_or(|old| old.m_cost() < params.m_cost() || old.t_cost() < params.t_cost())
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::atomic::Ordering::Relaxed;

    use argon2::Block;

    use super::*;

    fn cheap() -> Params {
        Params::new(Params::MIN_M_COST, Params::MIN_T_COST, 1, None).expect("minima")
    }

    fn client(n: u8) -> ClientKey {
        IpAddr::from([192, 0, 2, n]).into()
    }

    fn options() -> Options {
        Options { password_cost: PasswordCost::Cheapest, ..Options::new("unused") }
    }

    async fn passwords(options: Options) -> (Passwords, Arc<StoreMetrics>) {
        let metrics = Arc::new(StoreMetrics::default());
        let passwords = Passwords::new(&options, Arc::clone(&metrics)).await;
        (passwords.expect("threads"), metrics)
    }

    #[tokio::test]
    async fn bcrypt_of_php_is_verified_and_upgraded() {
        let (passwords, _) = passwords(options()).await;
        let verify = async |password: &str, stored: &str| {
            passwords.verify(password.into(), Some(stored.into()), Urgency::Other, client(1)).await
        };
        // The crypt_blowfish test vector, under PHP's and Python's name of the same algorithm.
        for prefix in ["$2y$", "$2b$"] {
            let stored =
                format!("{prefix}05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW");
            let right = verify("U*U", &stored).await.expect("run");
            let Verification::Upgrade(upgraded) = right else { panic!("{right:?}") };
            assert!(upgraded.starts_with("$argon2id$v=19$"));
            assert_eq!(verify("U*U", &upgraded).await.expect("run"), Verification::Right);
            assert_eq!(verify("U*V", &stored).await.expect("run"), Verification::Wrong);
        }
    }

    /// From the tests of the reference implementation (phc-winner-argon2, `test.c`).
    #[tokio::test]
    async fn a_hash_of_another_program_and_of_more_memory_is_verified() {
        let (passwords, _) = passwords(options()).await;
        let stored = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        for (password, is_right) in [("password", true), ("passwort", false)] {
            let verified =
                passwords.verify(password.into(), Some(stored.into()), Urgency::Other, client(1));
            let is_wrong = verified.await.expect("run") == Verification::Wrong;
            assert_eq!(!is_wrong, is_right, "{password}");
        }
    }

    #[tokio::test]
    async fn an_unknown_user_has_no_password() {
        let (passwords, _) = passwords(options()).await;
        for password in ["", "secret", "no account has this password"] {
            let verified = passwords.verify(password.into(), None, Urgency::Other, client(1)).await;
            assert_eq!(verified.expect("run"), Verification::Wrong);
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_memory_of_hashes_is_that_of_the_threads_whatever_is_asked() {
        let options = Options {
            password_cost: PasswordCost::Standard,
            hash_threads: 2,
            hash_timeout_ms: 600_000,
            ..Options::new("unused")
        };
        let (passwords, metrics) = passwords(options).await;
        let passwords = Arc::new(passwords);
        let asked: Vec<_> = (0..40)
            .map(|_| {
                let passwords = Arc::clone(&passwords);
                tokio::spawn(async move { passwords.hash("secret".into(), client(1)).await })
            })
            .collect();
        for asked in asked {
            asked.await.expect("join").expect("hash");
        }
        let held = metrics.counters.hash_memory.load(Relaxed);
        let of_one = (Params::default().block_count() * Block::SIZE) as u64;
        assert!(held == of_one || held == 2 * of_one, "{held}");
    }

    /// Blocks the only thread until the sender is dropped.
    async fn block(passwords: &Passwords) -> std::sync::mpsc::Sender<()> {
        let (release, blocked) = std::sync::mpsc::channel::<()>();
        let (started, has_started) = tokio::sync::oneshot::channel();
        let blocking = passwords.hashers.run(Urgency::Other, client(1), move |_| {
            let _ = started.send(());
            let _ = blocked.recv();
        });
        // The caller gives up at once; the job goes on.
        tokio::select! {
            biased;
            _ = blocking => unreachable!("it is blocked"),
            started = has_started => started.expect("it has started"),
        }
        release
    }

    #[tokio::test]
    async fn a_waiter_beyond_the_bound_is_refused() {
        let options = Options { hash_threads: 1, hash_queue_max: 1, ..options() };
        let (passwords, metrics) = passwords(options).await;
        let release = block(&passwords).await;
        let (first, ()) = tokio::join!(passwords.hash("one".into(), client(1)), async {
            let second = passwords.hash("two".into(), client(1)).await;
            assert!(matches!(second, Err(StoreError::Busy("login.hash_queue_max"))));
            drop(release);
        });
        assert!(first.is_ok());
        assert!(passwords.hash("three".into(), client(1)).await.is_ok());
        assert_eq!(metrics.counters.hashes_refused.load(Relaxed), 1);
    }

    #[tokio::test]
    async fn a_waiter_gives_its_place_to_a_client_that_has_fewer_and_is_refused() {
        let options =
            Options { hash_threads: 1, hash_queue_max: 2, hash_timeout_ms: 60_000, ..options() };
        let (passwords, metrics) = passwords(options).await;
        let release = block(&passwords).await;
        let (first, second, other, ()) = tokio::join!(
            passwords.hash("one".into(), client(1)),
            passwords.hash("two".into(), client(1)),
            passwords.hash("three".into(), client(2)),
            async { drop(release) },
        );
        assert!(first.is_ok() && other.is_ok());
        assert!(matches!(second, Err(StoreError::Busy("login.hash_queue_max"))));
        assert_eq!(metrics.counters.hashes_refused.load(Relaxed), 1);
    }

    #[tokio::test]
    async fn nobody_waits_longer_than_the_time_and_what_nobody_waits_for_is_not_computed() {
        let options = Options { hash_threads: 1, hash_timeout_ms: 10, ..options() };
        let (passwords, metrics) = passwords(options).await;
        let release = block(&passwords).await;
        let late = passwords.hash("one".into(), client(1)).await;
        assert!(matches!(late, Err(StoreError::Busy("login.hash_timeout_ms"))));
        assert_eq!(metrics.counters.hashes_refused.load(Relaxed), 1);
        drop(release);
        let ran = passwords.hashers.run(Urgency::Other, client(1), |_| ()).await;
        assert!(ran.is_ok());
        assert_eq!(metrics.counters.hash_memory.load(Relaxed), 0, "no hash was computed");
    }

    #[tokio::test]
    async fn who_is_known_comes_first() {
        let options = Options { hash_threads: 1, hash_timeout_ms: 60_000, ..options() };
        let (passwords, _) = passwords(options).await;
        let release = block(&passwords).await;
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        let note = |who: &'static str| {
            let order = Arc::clone(&order);
            move |_: &mut HashMemory| order.lock().expect("lock").push(who)
        };
        let (other, known, ()) = tokio::join!(
            passwords.hashers.run(Urgency::Other, client(1), note("other")),
            passwords.hashers.run(Urgency::Known, client(1), note("known")),
            async { drop(release) },
        );
        assert!(other.is_ok() && known.is_ok());
        assert_eq!(*order.lock().expect("lock"), ["known", "other"]);
    }

    /// The fields of `/proc/…/stat` behind the name, which may hold anything.
    fn niceness(stat: &str) -> Option<i32> {
        let (_, fields) = stat.rsplit_once(") ")?;
        fields.split(' ').nth(16)?.parse().ok()
    }

    #[tokio::test]
    async fn hashes_run_below_the_priority_of_everything_else() {
        let (passwords, _) = passwords(Options { hash_threads: 1, ..options() }).await;
        let of_hash = passwords.hashers.run(Urgency::Other, client(1), |_| {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("procfs");
            niceness(&stat).expect("a niceness")
        });
        let of_hash = of_hash.await.expect("run");
        let own = std::fs::read_to_string("/proc/thread-self/stat").expect("procfs");
        let own = niceness(&own).expect("a niceness");
        assert_eq!(of_hash, (own + 10).min(19));
    }

    #[test]
    fn an_expensive_hash_is_never_replaced_by_a_cheaper_one() {
        let expensive = dummy(&Params::default()).expect("encode");
        let cheap_hash = dummy(&cheap()).expect("encode");
        assert!(!is_weaker(&expensive, &cheap()));
        assert!(is_weaker(&cheap_hash, &Params::default()));
        assert!(!is_weaker(&expensive, &Params::default()));
    }
}
