//! `throng import`: the original application's `users`, `messages` and `counts` into an empty store.
//!
//! Everything is written in one transaction: an import is complete or did not happen. The source is
//! read in one snapshot, so the original may run meanwhile; what it writes later is not imported.
//!
//! ```text
//!  MySQL ── source ──► pages of rows ── work ──► checked rows ── throng_store::Load ──► store
//!                                        │
//!                                        └─────► report
//! ```
//!
//! | module | content |
//! |---|---|
//! | `source` | the original's tables, page by page |
//! | `work` | checks each row and converts it |
//! | `report` | what was read, written and skipped, also as text |
//! | `zone` | the original's clock |
#![forbid(unsafe_code)]

mod report;
mod source;
mod work;
mod zone;

use throng_store::{Load, PlacedMessage, Store, StoreError};

pub use report::{ImportReport, Remark, Tally};
pub use zone::utc_offset_s;

use source::Source;
use work::Work;

/// An import: where from, and where to.
pub struct Import<'a> {
    /// `mysql://…` or `mariadb://…` of the original's database.
    pub from: &'a str,
    /// Seconds east of UTC of the clock by which the original wrote its times.
    pub utc_offset_s: i32,
    /// A store without users, messages and read marks; `None` for a dry run, which reads and checks
    /// everything and writes nothing.
    pub into: Option<&'a Store>,
}

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The source is not MySQL or MariaDB.
    #[error("the source must be a mysql:// or mariadb:// URL")]
    SourceUrl,
    /// The source failed, or is not the original's database.
    #[error("cannot read the source: {0}")]
    Source(StoreError),
    /// The target has rows of this kind.
    #[error("the target is not empty: it has {0}; import into a new database")]
    NotEmpty(&'static str),
    /// The target failed.
    #[error("cannot write the target: {0}")]
    Target(#[from] StoreError),
}

impl Import<'_> {
    /// Imports, and answers what was read and written. `progress` gets the name of a table and the
    /// rows read of it, after every page.
    ///
    /// # Errors
    /// [`ImportError`]; nothing was written.
    pub async fn run(
        &self,
        mut progress: impl FnMut(&'static str, u64),
    ) -> Result<ImportReport, ImportError> {
        let mut source = Source::open(self.from).await?;
        let mut load = match self.into {
            Some(store) => Some(Load::begin(store).await?.map_err(ImportError::NotEmpty)?),
            None => None,
        };
        let mut work = Work::new(self.utc_offset_s);
        while let Some(page) = source.users().await? {
            let users = work.users(page);
            if let Some(load) = &mut load {
                load.users(&users).await?;
            }
            progress("users", work.report.users.read);
        }
        while let Some(page) = source.messages().await? {
            let messages = work.messages(page);
            if let Some(load) = &mut load {
                let placed: Vec<PlacedMessage<'_>> =
                    messages.iter().map(work::Message::placed).collect();
                load.messages(&placed).await?;
            }
            progress("messages", work.report.messages.read);
        }
        while let Some(page) = source.counts().await? {
            work.counts(&page);
            progress("counts", work.report.counts.read);
        }
        source.close().await;
        work.report.rooms = work.last_seqs.len() as u64;
        work.report.marks = work.marks().count() as u64;
        if let Some(mut load) = load {
            load.rooms(&work.last_seqs).await?;
            load.marks(work.marks()).await?;
            load.commit().await?;
        }
        Ok(work.report)
    }
}
