//! Who gives the messages of a room their numbers.

/// Who gives the messages of a room their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbering {
    /// The room's home. Nothing is kept.
    Home,
    /// The room's home; the database, which has no other writer, refuses a batch that does not follow
    /// what it has.
    HomeChecked,
    /// The database, in the order of the commits of all nodes.
    Database,
    /// Redis, in the order in which it logs the messages of all nodes. Nothing else is kept.
    Redis,
}

impl Numbering {
    /// Whether messages and read marks go to the database.
    pub fn keeps_messages(self) -> bool {
        match self {
            Numbering::Home | Numbering::Redis => false,
            Numbering::HomeChecked | Numbering::Database => true,
        }
    }
}
