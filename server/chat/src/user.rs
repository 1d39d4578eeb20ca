//! What the server knows of a user.

use std::sync::Arc;

use crate::ids::UserId;

/// What everyone may know about a user, and the e-mail, which only the user may know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserCard {
    /// The user.
    pub id: UserId,
    /// Only the user's own sessions get it; may be empty.
    pub email: Box<str>,
    /// As others see it.
    pub name: Box<str>,
    /// URL or path of the picture.
    pub avatar: Box<str>,
}

impl UserCard {
    /// This card, with the e-mail of an older one if it has none: other nodes do not send it.
    pub(crate) fn knowing(self: &Arc<UserCard>, older: &UserCard) -> Arc<UserCard> {
        if self.email.is_empty() && !older.email.is_empty() {
            return Arc::new(UserCard { email: older.email.clone(), ..UserCard::clone(self) });
        }
        Arc::clone(self)
    }
}
