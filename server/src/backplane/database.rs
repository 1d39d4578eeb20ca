//! The shared database, as the cluster's state machine uses it.

use std::sync::Arc;

use throng_chat::{RoomId, Seq, UserCard, UserId};
use throng_redis::orders::{Database, DatabaseDown};
use throng_store::{Store, StoreError};
use tokio::runtime::Handle;

use crate::rows::card;

/// Calls run on the store's runtime, to which its connections belong.
pub struct StoreDatabase {
    store: Store,
    runtime: Handle,
}

impl StoreDatabase {
    pub fn new(store: Store, runtime: Handle) -> StoreDatabase {
        StoreDatabase { store, runtime }
    }

    async fn call<T: Send + 'static>(
        &self,
        name: &'static str,
        call: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, DatabaseDown> {
        match self.runtime.spawn(call).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                tracing::warn!(call = name, %error, "a call of the backplane failed in the store");
                Err(DatabaseDown)
            }
            // The thread of the store has ended.
            Err(_) => Err(DatabaseDown),
        }
    }
}

impl Database for StoreDatabase {
    async fn tips(&self) -> Result<Vec<(RoomId, Seq)>, DatabaseDown> {
        let store = self.store.clone();
        let tips = self.call("tips", async move { store.tips().await }).await?;
        Ok(tips.into_iter().map(|(room, seq)| (RoomId(room), Seq(seq))).collect())
    }

    async fn card(&self, user: UserId) -> Result<Option<Arc<UserCard>>, DatabaseDown> {
        let store = self.store.clone();
        let row = self.call("user", async move { store.user(user.0).await }).await?;
        Ok(row.map(|row| Arc::new(card(&row))))
    }

    async fn raise_marks(&self, process: &str) -> Result<(), DatabaseDown> {
        let (store, process) = (self.store.clone(), process.to_owned());
        self.call("raise_marks", async move { store.raise_marks(&process).await }).await
    }
}
