//! `throng import` when it cannot: what it prints, and what it never prints.

use std::process::Output;

fn import(args: &[&str]) -> Output {
    let dir = tempfile::tempdir().expect("a temporary directory");
    throng_kit::own(env!("CARGO_BIN_EXE_throng"))
        .arg("import")
        .args(args)
        .args(["--data-dir", &dir.path().display().to_string()])
        .env_remove("THRONG_DATABASE")
        .output()
        .expect("it starts")
}

#[track_caller]
fn check_refused(args: &[&str], code: i32, says: &str) {
    let output = import(args);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{errors}");
    assert!(errors.contains(says), "{errors}");
    assert!(!errors.contains("secret"), "{errors}");
    assert!(output.stdout.is_empty());
}

#[test]
fn a_source_that_is_no_mysql_is_refused() {
    check_refused(&["--from", "postgres://ann:secret@127.0.0.1/laravel"], 74, "mysql://");
}

#[test]
fn a_source_that_does_not_answer_ends_the_import() {
    let from = "mysql://ann:secret@127.0.0.1:1/laravel";
    check_refused(&["--from", from, "--dry-run"], 74, "nothing was imported");
}

#[test]
fn a_zone_is_one_without_summer_time() {
    let args = ["--from", "mysql://ann:secret@127.0.0.1:1/x", "--timezone", "Europe/Berlin"];
    check_refused(&args, 78, "--timezone");
}

#[test]
fn a_target_that_is_no_database_is_refused() {
    let args = ["--from", "mysql://ann:secret@127.0.0.1:1/x", "--database", "redis://:secret@x"];
    check_refused(&args, 78, "postgres://USER:PASSWORD@HOST/NAME");
}
