//! Accounts and tokens.

use std::time::Duration;

use crate::common::{bench, bench_with, client};
use crate::everywhere;
use throng_store::{
    NewUser, RegisterError, StoreError, TokenScope, Urgency, format_datetime, hash_token,
};

fn hash(token: &str) -> [u8; 32] {
    hash_token(token).expect("the store's tokens have the shape of one")
}

async fn of_concurrent_registrations_of_one_email_exactly_one_succeeds() {
    let bench = bench().await;
    let attempts: Vec<_> = (0..16)
        .map(|n| {
            let store = bench.store.clone();
            // Two spellings of one address.
            let email = if n % 2 == 0 { "Ann@Example.org" } else { "ann@example.ORG" };
            tokio::spawn(async move {
                let new = NewUser {
                    email: email.into(),
                    password: format!("secret{n}"),
                    avatar: "/avatars/1.svg".into(),
                };
                store.register(new, client()).await
            })
        })
        .collect();
    let mut registered = Vec::new();
    for attempt in attempts {
        match attempt.await.expect("join") {
            Ok(created) => registered.push(created.user),
            Err(RegisterError::EmailTaken) => {}
            Err(RegisterError::Store(error)) => panic!("{error}"),
        }
    }
    assert_eq!(registered.len(), 1);
    assert!(bench.store.is_email_taken("ANN@example.org").await.expect("query"));
    assert_eq!(registered[0].name.to_lowercase(), "ann");
}

#[tokio::test]
async fn the_race_is_decided_by_the_index_and_not_by_the_check_before() {
    let bench = bench().await;
    let second_db = bench.second_db().await;
    // Another writer takes the address between the check and the insert.
    let mut rival = second_db.begin_with("BEGIN IMMEDIATE").await.expect("begin");
    sqlx::raw_sql(
        "INSERT INTO users (name, email, email_key, password_hash, avatar, created_at, updated_at)
         VALUES ('rival', 'eve@x.org', 'eve@x.org', 'x', 'x', 0, 0)",
    )
    .execute(&mut *rival)
    .await
    .expect("insert");
    let store = bench.store.clone();
    let registering = tokio::spawn(async move { store.register(eve(), client()).await });
    // The check does not see what is not committed, and the insert waits for it.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!registering.is_finished(), "the insert waits");
    rival.commit().await.expect("commit");
    let outcome = registering.await.expect("join");
    assert!(matches!(outcome, Err(RegisterError::EmailTaken)), "{outcome:?}");
}

/// The insert fails in the words of a taken address, and undone with it is what took it.
#[tokio::test]
async fn an_email_that_only_a_rule_of_the_database_refuses_is_not_taken() {
    let bench = bench().await;
    let second_db = bench.second_db().await;
    sqlx::raw_sql(
        "CREATE TRIGGER rival BEFORE INSERT ON users WHEN NEW.name = 'eve' BEGIN
           INSERT INTO users (name, email, email_key, password_hash, avatar, created_at, updated_at)
           VALUES ('rival', NEW.email, NEW.email_key, 'x', 'x', 0, 0);
         END",
    )
    .execute(&second_db)
    .await
    .expect("trigger");
    let outcome = bench.store.register(eve(), client()).await;
    assert!(matches!(outcome, Err(RegisterError::Store(_))), "{outcome:?}");
}

fn eve() -> NewUser {
    NewUser { email: "eve@x.org".into(), password: "secret".into(), avatar: String::new() }
}

async fn login_needs_the_password_and_accepts_any_spelling_of_the_email() {
    let bench = bench().await;
    let user = bench.user("Bob@example.org").await;
    assert_eq!((user.name.as_str(), user.email.as_str()), ("Bob", "Bob@example.org"));
    let login = |email: &'static str, password: &'static str| {
        let store = bench.store.clone();
        async move {
            let user = store.verify_login(email, password.into(), Urgency::Other, client()).await;
            user.expect("verify")
        }
    };
    assert_eq!(login("bob@EXAMPLE.org", "secret").await, Some(user));
    assert_eq!(login("bob@example.org", "Secret").await, None);
    assert_eq!(login("bob@example.org", "").await, None);
    assert_eq!(login("unknown@example.org", "secret").await, None);
}

async fn an_imported_bcrypt_hash_logs_in_and_becomes_argon2id() {
    let bench = bench().await;
    bench.user("old@example.org").await;
    let second_db = bench.second_db().await;
    sqlx::raw_sql(
        "UPDATE users
            SET password_hash = '$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW'",
    )
    .execute(&second_db)
    .await
    .expect("update");
    let login = async |password: &str| {
        bench.store.verify_login("old@example.org", password.into(), Urgency::Other, client()).await
    };
    let stored = async || {
        sqlx::query_scalar::<_, String>("SELECT password_hash FROM users")
            .fetch_one(&second_db)
            .await
            .expect("select")
    };
    assert_eq!(login("U*V").await.expect("verify"), None);
    assert!(stored().await.starts_with("$2y$"), "a wrong password upgrades nothing");
    assert!(login("U*U").await.expect("verify").is_some());
    assert!(stored().await.starts_with("$argon2id$"));
    assert!(login("U*U").await.expect("verify").is_some());
    assert_eq!(login("U*V").await.expect("verify"), None);
}

#[tokio::test]
async fn a_token_is_stored_as_its_hash_and_is_valid_in_its_scope_only() {
    let bench = bench().await;
    let user = bench.user("c@example.org").await;
    let api = bench.store.issue_token(user.id, TokenScope::Api).await.expect("issue");
    let cookie = bench.store.issue_token(user.id, TokenScope::Cookie).await.expect("issue");
    assert_ne!(api, cookie);
    let api_of = async |token: &str| bench.store.authenticate(hash(token)).await.expect("query");
    let cookie_of =
        async |token: &str| bench.store.authenticate_cookie(hash(token)).await.expect("query");
    assert_eq!(api_of(&api).await, Some(user.clone()));
    assert_eq!(cookie_of(&cookie).await, Some(user));
    assert_eq!(api_of(&cookie).await, None);
    assert_eq!(cookie_of(&api).await, None);

    let mut file = std::fs::read(bench.dir.path().join("throng.db")).expect("read");
    file.extend(std::fs::read(bench.dir.path().join("throng.db-wal")).expect("read"));
    for token in [&api, &cookie] {
        let is_found = file.windows(token.len()).any(|window| window == token.as_bytes());
        assert!(!is_found, "a token was stored in plain text");
        let is_hash_found = file.windows(32).any(|window| window == hash(token));
        assert!(is_hash_found, "this search would not find a token either");
    }
}

async fn a_revoked_token_is_invalid_and_the_others_stay() {
    let bench = bench().await;
    let user = bench.user("d@example.org").await;
    let first = bench.store.issue_token(user.id, TokenScope::Api).await.expect("issue");
    let second = bench.store.issue_token(user.id, TokenScope::Api).await.expect("issue");
    assert_eq!(bench.store.revoke(hash(&first)).await.expect("revoke"), Some(user.id));
    assert_eq!(bench.store.revoke(hash(&first)).await.expect("revoke"), None);
    assert_eq!(bench.store.authenticate(hash(&first)).await.expect("query"), None);
    assert_eq!(bench.store.authenticate(hash(&second)).await.expect("query"), Some(user));
}

async fn a_token_ends_at_its_time_and_is_removed_by_the_next_one() {
    let bench = bench_with(|options| options.token_lifetime = Duration::ZERO).await;
    let user = bench.user("e@example.org").await;
    let token = bench.store.issue_token(user.id, TokenScope::Api).await.expect("issue");
    assert_eq!(bench.store.authenticate(hash(&token)).await.expect("query"), None);
    bench.store.issue_token(user.id, TokenScope::Api).await.expect("issue");
    let second_db = bench.second_db().await;
    let kept = sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM tokens")
        .fetch_one(&second_db)
        .await
        .expect("count");
    assert_eq!(kept, 1, "the second has taken the place of the first");
}

async fn one_token_beyond_the_bound_ends_the_oldest_of_its_scope() {
    let bench = bench_with(|options| options.tokens_per_user_max = 2).await;
    let user = bench.user("f@example.org").await;
    let other = bench.user("g@example.org").await;
    let cookie = bench.store.issue_token(user.id, TokenScope::Cookie).await.expect("issue");
    let of_other = bench.store.issue_token(other.id, TokenScope::Api).await.expect("issue");
    let mut tokens = Vec::new();
    for _ in 0..2 {
        tokens.push(bench.store.issue_token(user.id, TokenScope::Api).await.expect("issue"));
    }
    let is_open =
        async |token: &str| bench.store.authenticate(hash(token)).await.expect("query").is_some();
    assert!(is_open(&tokens[0]).await && is_open(&tokens[1]).await);
    tokens.push(bench.store.issue_token(user.id, TokenScope::Api).await.expect("issue"));
    assert!(!is_open(&tokens[0]).await);
    assert!(is_open(&tokens[1]).await && is_open(&tokens[2]).await && is_open(&of_other).await);
    assert!(bench.store.authenticate_cookie(hash(&cookie)).await.expect("query").is_some());
}

async fn many_tokens_are_looked_up_at_once_and_answered_in_order() {
    let bench = bench().await;
    let mut asked = Vec::new();
    let mut expected = Vec::new();
    for number in 0..12 {
        let user = bench.user(&format!("u{number}@example.com")).await;
        let scope = if number % 3 == 0 { TokenScope::Cookie } else { TokenScope::Api };
        asked.push(hash(&bench.store.issue_token(user.id, scope).await.expect("token")));
        expected.push((scope == TokenScope::Api).then_some(user));
    }
    asked.insert(7, [0; 32]);
    expected.insert(7, None);
    // More than one statement can take.
    asked = asked.iter().copied().cycle().take(300).collect();
    expected = expected.iter().cloned().cycle().take(300).collect();
    assert_eq!(bench.store.authenticate_all(&asked).await.expect("query"), expected);
    assert_eq!(bench.store.authenticate_all(&[]).await.expect("query"), []);
}

async fn a_token_needs_a_user() {
    let bench = bench().await;
    let outcome = bench.store.issue_token(4711, TokenScope::Api).await;
    assert!(matches!(outcome, Err(StoreError::Database(_))), "{outcome:?}");
}

async fn a_new_avatar_is_in_the_next_answer() {
    let bench = bench().await;
    let user = bench.user("h@example.org").await;
    let changed =
        bench.store.set_avatar(user.id, "/avatars/7.svg").await.expect("update").expect("user");
    assert_eq!(changed.avatar, "/avatars/7.svg");
    assert_eq!(bench.store.user(user.id).await.expect("query"), Some(changed));
    assert_eq!(bench.store.set_avatar(4711, "x").await.expect("update"), None);
    assert_ne!(user.created_at, format_datetime(0));
}

everywhere! {
    of_concurrent_registrations_of_one_email_exactly_one_succeeds,
    login_needs_the_password_and_accepts_any_spelling_of_the_email,
    an_imported_bcrypt_hash_logs_in_and_becomes_argon2id,
    a_revoked_token_is_invalid_and_the_others_stay,
    a_token_ends_at_its_time_and_is_removed_by_the_next_one,
    one_token_beyond_the_bound_ends_the_oldest_of_its_scope,
    many_tokens_are_looked_up_at_once_and_answered_in_order,
    a_token_needs_a_user,
    a_new_avatar_is_in_the_next_answer,
}
