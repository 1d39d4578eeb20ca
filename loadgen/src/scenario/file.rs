//! Scenario files: TOML, one on top of another.

use std::path::Path;

use anyhow::{Context as _, ensure};

/// The keys of a file over those of the file it extends.
pub fn read_table(path: &Path) -> anyhow::Result<toml::Table> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let mut table: toml::Table =
        toml::from_str(&text).with_context(|| format!("scenario {}", path.display()))?;
    let Some(base) = table.remove("extends") else { return Ok(table) };
    let base = base.as_str().with_context(|| format!("extends in {}", path.display()))?;
    let base = path.with_file_name(base);
    ensure!(base != path, "{} extends itself", path.display());
    let mut merged = read_table(&base)?;
    merge_tables(&mut merged, table);
    Ok(merged)
}

pub fn merge_tables(base: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(toml::Value::Table(base)), toml::Value::Table(over)) => merge_tables(base, over),
            (_, value) => drop(base.insert(key, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    fn load(path: &Path) -> anyhow::Result<Scenario> {
        Ok(read_table(path)?.try_into()?)
    }

    #[test]
    fn a_file_extends_another_key_by_key() {
        let folder = std::env::temp_dir().join(format!("scenario-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        write("base.toml", "clients = 7\nrooms = 2\n[load]\nacks = false\nrate = 5.0\n");
        let over = write("over.toml", "extends = 'base.toml'\nrooms = 3\n[load]\nrate = 9.0\n");
        let scenario = load(&over).unwrap();
        assert_eq!((scenario.clients, scenario.rooms), (7, 3));
        assert_eq!((scenario.load.acks, scenario.load.rate), (false, 9.0));
        let own = write("own.toml", "extends = 'own.toml'\n");
        assert!(load(&own).is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
