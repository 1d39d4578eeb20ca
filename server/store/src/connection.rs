//! A connection on loan from a pool. This is the only place that decides whether one is used again:
//! SQLite rolls back by itself when its disk is full, the rollback that follows then fails, and the
//! next user of such a connection inherits a transaction that does not exist.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, AnyPool, Executor};

use crate::StoreError;
use crate::dialect::Dialect;
use crate::fault::breaks_connection;
use crate::file::OpenFile;

/// A connection that goes back to its pool if its last use ended well, and is closed otherwise, also
/// when the future that used it is dropped.
pub(crate) struct Loan {
    /// `None` once it has been given back or closed.
    connection: Option<PoolConnection<Any>>,
}

impl Loan {
    pub async fn of(pool: &AnyPool) -> Result<Self, StoreError> {
        Ok(Self { connection: Some(pool.acquire().await?) })
    }

    /// Gives the connection back, unless the outcome says that it is broken.
    pub fn end<T>(mut self, outcome: Result<T, sqlx::Error>) -> Result<T, StoreError> {
        let outcome = outcome.map_err(StoreError::from);
        if !outcome.as_ref().is_err_and(breaks_connection) {
            self.give_back();
        }
        outcome
    }

    fn give_back(&mut self) {
        self.connection = None;
    }

    /// Closes the connection; when this completes, the database knows of no transaction of it.
    async fn close(mut self) {
        if let Some(connection) = self.connection.take() {
            // A connection that cannot be closed in order is cut.
            let _ = connection.close().await;
        }
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.close_on_drop();
        }
    }
}

const HELD: &str = "a loan holds its connection until it ends";

impl Deref for Loan {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        self.connection.as_deref().expect(HELD)
    }
}

impl DerefMut for Loan {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        self.connection.as_deref_mut().expect(HELD)
    }
}

/// A transaction that writes. Dropping it closes its connection, and with it the transaction.
pub(crate) struct Write {
    loan: Loan,
    /// The database, if it is a file.
    file: Option<Arc<OpenFile>>,
}

impl Write {
    pub async fn begin(
        pool: &AnyPool,
        dialect: Dialect,
        file: Option<Arc<OpenFile>>,
    ) -> Result<Self, StoreError> {
        let mut loan = Loan::of(pool).await?;
        match loan.execute(dialect.begin()).await {
            Ok(_) => Ok(Self { loan, file }),
            Err(error) => loan.end(Err(error)),
        }
    }

    /// # Errors
    /// The database failed; unless its answer is missing, nothing was written.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        if let Some(file) = &self.file
            && let Err(error) = OpenFile::look(file).await
        {
            self.undo(&error).await;
            return Err(error);
        }
        match self.loan.execute("COMMIT").await {
            Ok(_) => {
                self.loan.give_back();
                Ok(())
            }
            Err(error) => {
                self.loan.close().await;
                Err(error.into())
            }
        }
    }

    /// Undoes everything, because of `error`; when this completes, the transaction is over.
    pub async fn undo(mut self, error: &StoreError) {
        if !breaks_connection(error) && self.loan.execute("ROLLBACK").await.is_ok() {
            self.loan.give_back();
        } else {
            self.loan.close().await;
        }
    }

    /// Ends a transaction that has written nothing.
    pub async fn forget(mut self) -> Result<(), StoreError> {
        let ended = self.loan.execute("ROLLBACK").await;
        self.loan.end(ended).map(drop)
    }
}

impl Deref for Write {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        &self.loan
    }
}

impl DerefMut for Write {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        &mut self.loan
    }
}
