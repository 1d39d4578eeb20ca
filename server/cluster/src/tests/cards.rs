//! User cards for tests.

use std::sync::Arc;

use throng_chat::UserCard;
use throng_chat::UserId;

pub fn card(user: u32) -> Arc<UserCard> {
    Arc::new(UserCard {
        id: UserId(user),
        email: format!("u{user}@example.org").into(),
        name: format!("user {user}").into(),
        avatar: "/a.png".into(),
    })
}
