//! `throng import`: the original application's data, with a report.

use std::io::Write;
use std::time::{Duration, Instant};

use throng_store::{Import, ImportReport, Options, Store, Tally, without_secrets};

use crate::cli::ImportArgs;
use crate::config::Config;
use crate::start::StartError;

/// Between two lines of progress.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Imports, and prints the report on standard output.
///
/// # Errors
/// [`StartError`]; then the target is as it was.
pub async fn import(args: &ImportArgs, config: Config) -> Result<(), StartError> {
    let utc_offset_s = utc_offset_s(&args.timezone).ok_or_else(|| {
        StartError::Config(format!(
            "--timezone: expected UTC, Asia/Shanghai or an offset such as +08:00, found {}",
            args.timezone
        ))
    })?;
    let url = config.database.clone().unwrap_or_else(|| config.store.default_url());
    let store = if args.dry_run {
        None
    } else {
        let opened = Store::open(&url, patient(config.store.clone())).await;
        Some(opened.map_err(|error| StartError::OpenStore {
            url: without_secrets(&url),
            data_dir: config.store.data_dir.display().to_string(),
            error,
        })?)
    };
    let mut told = Instant::now();
    let import = Import { from: &args.from, utc_offset_s, into: store.as_ref() };
    let outcome = import.run(|table, rows| {
        if told.elapsed() >= PROGRESS_EVERY {
            told = Instant::now();
            eprintln!("throng: {table}: {rows} rows read");
        }
    });
    let report = outcome.await?;
    if let Some(store) = store {
        store.close().await;
    }
    let target = if args.dry_run { None } else { Some(without_secrets(&url)) };
    // A reader that went away wants no report; the import is done all the same.
    let _ = std::io::stdout().write_all(text(&report, target.as_deref()).as_bytes());
    Ok(())
}

/// Whoever imports waits for nobody, and for as long as it takes.
fn patient(store: Options) -> Options {
    Options { answer_timeout: Duration::from_secs(24 * 60 * 60), ..store }
}

fn text(report: &ImportReport, target: Option<&str>) -> String {
    use std::fmt::Write as _;
    let mut text = match target {
        Some(target) => format!("imported into {target}\n"),
        None => "a dry run: nothing was written; this is what would be\n".to_owned(),
    };
    let tables: [(&str, &Tally); 4] = [
        ("users", &report.users),
        ("tokens", &report.tokens),
        ("messages", &report.messages),
        ("counts", &report.counts),
    ];
    for (table, tally) in tables {
        let _ = writeln!(text, "{table:<9} {:>9} read {:>9} written", tally.read, tally.written);
        for (reason, remark) in &tally.remarks {
            let ids: Vec<String> = remark.ids.iter().map(i64::to_string).collect();
            let more = if remark.rows > ids.len() as u64 { ", …" } else { "" };
            let _ = writeln!(text, "{:>19} {reason} (id {}{more})", remark.rows, ids.join(", "));
        }
    }
    let _ = writeln!(text, "rooms     {:>9}\nmarks     {:>9}", report.rooms, report.marks);
    text
}

/// Seconds east of UTC. The two zones are those of the original's configuration; neither has
/// summer time.
fn utc_offset_s(zone: &str) -> Option<i32> {
    match zone {
        "UTC" => return Some(0),
        "Asia/Shanghai" => return Some(8 * 60 * 60),
        _ => {}
    }
    let (sign, rest) = match zone.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let two_digits = |text: &str, below: i32| {
        let number = text.parse::<i32>().ok().filter(|number| (0..below).contains(number))?;
        (text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(number)
    };
    Some(sign * (two_digits(hours, 15)? * 3600 + two_digits(minutes, 60)? * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_two_names_and_offsets() {
        assert_eq!(utc_offset_s("UTC"), Some(0));
        assert_eq!(utc_offset_s("Asia/Shanghai"), Some(28_800));
        assert_eq!(utc_offset_s("+08:00"), Some(28_800));
        assert_eq!(utc_offset_s("-03:30"), Some(-12_600));
        for wrong in
            ["", "8", "+8:00", "+15:00", "+08:60", "+0a:00", "é", "Europe/Berlin", "++1:00"]
        {
            assert_eq!(utc_offset_s(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_report_names_rows_and_reasons() {
        let mut report = ImportReport::default();
        report.users.read = 8;
        report.users.written = 1;
        report.users.remarks.insert(
            "skipped: it is Tuesday",
            throng_store::Remark { rows: 7, ids: vec![1, 2, 3, 4, 5] },
        );
        let text = text(&report, None);
        assert!(text.contains("dry run"), "{text}");
        assert!(text.contains("users             8 read         1 written"), "{text}");
        assert!(text.contains("7 skipped: it is Tuesday (id 1, 2, 3, 4, 5, …)"), "{text}");
    }
}
