//! The file of settings, as far as it is TOML or not.

use std::io;
use std::path::Path;

use super::reader::ConfigFault;

/// Finds out whether the file is TOML. The fault says where it is not, and repeats nothing of the line: it may
/// have a password.
pub fn check(path: &Path) -> Result<(), ConfigFault> {
    let shown = path.display();
    match path.metadata() {
        Ok(found) if found.is_file() => {}
        Ok(found) if found.is_dir() => return Err(format!("{shown}: a directory, not a file")),
        Ok(_) => return Err(format!("{shown}: not a regular file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(format!("{shown}: no such file"));
        }
        Err(error) => return Err(format!("{shown}: {error}")),
    }
    let text = std::fs::read_to_string(path).map_err(|error| format!("{shown}: {error}"))?;
    let Err(error) = text.parse::<toml::Table>() else { return Ok(()) };
    let message = error.message().trim().replace('\n', ", ");
    let before = &text[..error.span().map_or(0, |span| span.start)];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |of_line| of_line.chars().count()) + 1;
    Err(format!("{shown}: no TOML at line {line}, column {column}: {message}"))
}
