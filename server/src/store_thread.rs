//! The thread that the store's work runs on.
//!
//! It is a thread of its own so that requests, of which a flood may keep the HTTP thread busy, do not delay
//! the commit of a message.

use throng_store::{Options, Store, StoreError};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::start::StartError;

/// Ends, with what still runs on it, when this is dropped; close the store before that.
pub struct StoreThread {
    handle: Handle,
    _until: oneshot::Sender<()>,
}

impl StoreThread {
    /// Starts the thread and opens the store there.
    ///
    /// # Errors
    /// [`StartError::OpenStore`] when that fails, [`throng_runtime::StartError::System`] when the system
    /// refuses a thread.
    pub async fn open(url: &str, options: &Options) -> Result<(StoreThread, Store), StartError> {
        let system = throng_runtime::StartError::System;
        let runtime = Builder::new_current_thread().enable_all().build().map_err(system)?;
        let handle = runtime.handle().clone();
        let (opened_in, opened) = oneshot::channel::<Result<Store, StoreError>>();
        let (until, dropped) = oneshot::channel();
        let own = (url.to_owned(), options.clone());
        let run = move || {
            runtime.block_on(async move {
                let (url, options) = own;
                let opened = Store::open(&url, options).await;
                if opened_in.send(opened).is_ok() {
                    let _: Result<(), _> = dropped.await;
                }
            });
        };
        std::thread::Builder::new().name("store".into()).spawn(run).map_err(system)?;
        let opened = opened.await.expect("opening the store does not panic");
        let store = opened.map_err(|error| StartError::open_store(url, options, error))?;
        Ok((StoreThread { handle, _until: until }, store))
    }

    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}
