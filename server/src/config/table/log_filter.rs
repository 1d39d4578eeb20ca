//! The filter of the log: a level for all modules, or for those whose names begin with a text.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// The crates of this server, as the names of their modules begin.
pub const CRATES: [&str; 13] = [
    "throng",
    "throng_chat",
    "throng_cluster",
    "throng_engine",
    "throng_health",
    "throng_import",
    "throng_mesh",
    "throng_redis",
    "throng_rest",
    "throng_runtime",
    "throng_store",
    "throng_tables",
    "throng_wire",
];

/// What is wrong with a filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterFault {
    #[error("there is nothing before or after a comma")]
    Empty,
    #[error("\"{0}\" is no module")]
    Module(String),
    /// Any other bare word would be the name of a module, and all other modules would be silent.
    #[error("\"{0}\" is no level (trace, debug, info, warn, error, off)")]
    Level(String),
    #[error("it cannot be read")]
    Unreadable,
}

/// The filter without the spaces around its commas.
///
/// # Errors
/// It is no filter.
pub fn parse(text: &str) -> Result<String, FilterFault> {
    if text.trim().is_empty() {
        return Err(FilterFault::Level(text.to_owned()));
    }
    let directives: Vec<&str> = text.split(',').map(str::trim).collect();
    for directive in &directives {
        check(directive)?;
    }
    let filter = directives.join(",");
    EnvFilter::try_new(&filter).map_err(|_| FilterFault::Unreadable)?;
    Ok(filter)
}

/// Whether a filter lets any line of this server through that has a high enough level. Without that, the
/// server is silent.
pub fn concerns_server(filter: &str) -> bool {
    filter.split(',').any(|directive| match directive.rsplit_once('=') {
        Some((module, _)) => CRATES.iter().any(|name| is_of_crate(module, name)),
        None => true,
    })
}

fn check(directive: &str) -> Result<(), FilterFault> {
    if directive.is_empty() {
        return Err(FilterFault::Empty);
    }
    let (module, level) = match directive.rsplit_once('=') {
        Some((module, level)) => (Some(module), level),
        None => (None, directive),
    };
    if let Some(module) = module.filter(|module| !is_module(module)) {
        return Err(FilterFault::Module(module.to_owned()));
    }
    if level.is_empty() || level.parse::<LevelFilter>().is_err() {
        return Err(FilterFault::Level(level.to_owned()));
    }
    Ok(())
}

fn is_module(text: &str) -> bool {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    !text.is_empty() && text.chars().all(is_of_name)
}

/// A directive is for all modules whose names begin like its own, so `thr` is for all of this server.
fn is_of_crate(module: &str, name: &str) -> bool {
    let within = format!("{name}::");
    within.starts_with(module) || module.starts_with(&within)
}
