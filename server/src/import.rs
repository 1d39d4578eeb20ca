//! The command `throng import`.

use std::time::{Duration, Instant};

use throng_import::{Import, utc_offset_s};
use throng_store::{Options, Store, without_secrets};

use crate::cli::ImportArgs;
use crate::config::Config;
use crate::start::StartError;
use crate::terminal::{self, complain};

/// Between two lines of progress.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// No client waits for an import, so one statement may take as long as it needs.
const ANSWER_TIMEOUT_MS: u32 = 24 * 60 * 60 * 1000;

/// Imports, with progress on standard error and the report on standard output.
///
/// # Errors
/// [`StartError`]; the target is unchanged.
pub async fn import(args: &ImportArgs, config: Config) -> Result<(), StartError> {
    let utc_offset_s = utc_offset_s(&args.timezone).ok_or_else(|| {
        StartError::Config(format!(
            "--timezone: expected UTC, Asia/Shanghai or an offset such as +08:00, found {}",
            args.timezone
        ))
    })?;
    let url = config.database_url();
    let (store, target) = if args.dry_run {
        (None, "a dry run: nothing was written; this is what would be".to_owned())
    } else {
        let options = Options { answer_timeout_ms: ANSWER_TIMEOUT_MS, ..config.store.clone() };
        let store = Store::open(&url, options).await;
        let store = store.map_err(|error| StartError::open_store(&url, &config.store, error))?;
        (Some(store), format!("imported into {}", without_secrets(&url)))
    };
    let mut printed = Instant::now();
    let import = Import { from: &args.from, utc_offset_s, into: store.as_ref() };
    let outcome = import.run(|table, rows| {
        if printed.elapsed() >= PROGRESS_EVERY {
            printed = Instant::now();
            complain(format_args!("{table}: {rows} rows read"));
        }
    });
    let report = outcome.await?;
    if let Some(store) = store {
        store.close().await;
    }
    // The import is done even if standard output is closed.
    let _ = terminal::print(&format!("{target}\n{report}"));
    Ok(())
}
