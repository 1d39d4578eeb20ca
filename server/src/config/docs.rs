//! The settings as a page, and as lines for `check-config --explain`.

use std::fmt::Write;

use throng_tables::settings::Kind;

use super::{Shown, defaults};

/// Where both pages are kept in the repository, and what makes them.
pub const REGENERATE: &str = "cargo run -p throng -- docs server/docs";

/// The page `settings.md`.
pub fn markdown() -> String {
    let mut page = format!(
        "# Settings\n\n\
         Made by `{REGENERATE}` from the tables in the source; do not edit.\n\n\
         A setting has one name. `publish_per_s` in the table `[limits]` of the file is `limits.publish_per_s`\n\
         in `throng check-config --explain`, `--limits-publish-per-s` on the command line and\n\
         `THRONG_LIMITS__PUBLISH_PER_S` in the environment. A flag wins over the environment, the environment\n\
         over the file of `--config`, the file over the default. A list in a flag or in the environment is\n\
         written as in the file or with commas: `--http-trusted-proxies 10.0.0.0/8,unix`.\n\
         A key of the file that is no setting stops the start; an unknown variable of the environment is\n\
         a warning, because Kubernetes sets `THRONG_PORT` and others for a service of that name.\n"
    );
    let mut section = None;
    for shown in defaults() {
        let setting = shown.setting;
        if section != Some(setting.section) {
            section = Some(setting.section);
            let title = match setting.section {
                "" => "At the top of the file".to_owned(),
                section => format!("`[{section}]`"),
            };
            let _ = write!(
                page,
                "\n## {title}\n\n| setting | default | allowed | meaning |\n|---|---|---|---|\n"
            );
        }
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} |",
            setting.name,
            cell(&shown.value_and_unit()),
            cell(&(setting.allowed)()),
            cell(setting.description.trim())
        );
    }
    page
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

/// The description with default, unit and range, for `--help`.
pub fn help(shown: &Shown) -> String {
    let setting = shown.setting;
    let description = setting.description.trim();
    let allowed = match setting.kind {
        Kind::Switch => String::new(),
        _ => format!("; {}", (setting.allowed)()),
    };
    format!("{description} [default: {}{allowed}]", shown.value_and_unit())
}

/// Two lines: value, unit, range and origin; and what it means.
pub fn explain(shown: &[Shown]) -> String {
    let width = shown.iter().map(|shown| shown.key.len()).max().unwrap_or(0);
    let mut text = String::new();
    for shown in shown {
        let allowed = (shown.setting.allowed)();
        let (key, value, origin) = (&shown.key, shown.value_and_unit(), &shown.origin);
        let _ = writeln!(text, "{key:width$} = {value}  ({allowed}; from {origin})");
        let _ = writeln!(text, "    {}", shown.setting.description.trim());
    }
    text
}
