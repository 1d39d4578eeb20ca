//! No import circle between the files of a crate, a module and its child aside.
//!
//! Every file of a crate is parsed without its tests. A name that a file uses is followed, through
//! re-exports, to the file that defines it; files that reach each other that way form a circle.
//! Methods do not count: only names that stand in an import or in a path.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::modules::{Module, Tree};
use crate::process::{metadata, root};
use crate::{Failure, Outcome};

/// Folders whose packages are checked.
const CHECKED: &[&str] = &["server/", "harness/", "loadgen/", "ci/"];

/// A use of one file's name in another: where, and what.
struct Edge {
    line: usize,
    path: String,
}

/// From a file to the files it uses, by their indices in `Tree::files`.
type Graph = BTreeMap<usize, BTreeMap<usize, Vec<Edge>>>;

pub fn check() -> Outcome {
    let mut found = Vec::new();
    for (package, source) in targets(&metadata()?) {
        let tree = Tree::read(&source)
            .map_err(|why| Failure::Failed(format!("{}: {why}", source.display())))?;
        found.extend(circles(&tree).into_iter().map(|circle| format!("{package}: {circle}")));
    }
    if found.is_empty() {
        return Ok(());
    }
    let count = found.len();
    found.push(format!("import circles: {count}"));
    Err(Failure::Failed(found.join("\n")))
}

/// The packages to check and the first source file of each of their libraries and programs.
fn targets(metadata: &Value) -> Vec<(String, PathBuf)> {
    let mut targets = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let manifest = Path::new(package["manifest_path"].as_str().unwrap_or_default());
        let manifest = manifest.strip_prefix(root()).unwrap_or(manifest);
        if !CHECKED.iter().any(|folder| manifest.starts_with(folder)) {
            continue;
        }
        for target in package["targets"].as_array().into_iter().flatten() {
            let kinds = target["kind"].as_array().into_iter().flatten();
            let is_shipped = kinds.into_iter().any(|kind| kind == "lib" || kind == "bin");
            if let (true, Some(source)) = (is_shipped, target["src_path"].as_str()) {
                let name = package["name"].as_str().unwrap_or_default();
                targets.push((name.to_owned(), PathBuf::from(source)));
            }
        }
    }
    targets
}

/// Every circle as a text: its files, and each use that keeps it closed.
fn circles(tree: &Tree) -> Vec<String> {
    let graph = graph(tree);
    let components = components(&graph);
    let shown = |file: usize| tree.files[file].strip_prefix(root()).unwrap_or(&tree.files[file]);
    let mut texts = Vec::new();
    for component in components {
        let names: Vec<String> =
            component.iter().map(|file| shown(*file).display().to_string()).collect();
        let mut text = format!("{} files import each other: {}", names.len(), names.join(", "));
        for (from, uses) in graph.iter().filter(|(from, _)| component.contains(from)) {
            for (to, edges) in uses.iter().filter(|(to, _)| component.contains(to)) {
                let places: Vec<String> =
                    edges.iter().map(|edge| format!("{} {}", edge.line, edge.path)).collect();
                text += &format!(
                    "\n    {} -> {}: line {}",
                    shown(*from).display(),
                    shown(*to).display(),
                    places.join(", line ")
                );
            }
        }
        texts.push(text);
    }
    texts
}

fn graph(tree: &Tree) -> Graph {
    let mut graph = Graph::new();
    for (number, module) in tree.modules.iter().enumerate() {
        for (line, path) in &module.uses {
            let Some(to) = tree.resolve(number, path) else { continue };
            let from = module.file;
            if from == to || are_parent_and_child(&tree.modules, from, to) {
                continue;
            }
            // What was imported by name counts where it is imported.
            if path.len() == 1 && module.is_imported(&path[0]) {
                continue;
            }
            let edges = graph.entry(from).or_default().entry(to).or_default();
            let path = path.join("::");
            if edges.iter().all(|edge| edge.path != path) {
                edges.push(Edge { line: *line, path });
            }
        }
    }
    graph
}

/// Whether one file declares the other's module.
fn are_parent_and_child(modules: &[Module], one: usize, other: usize) -> bool {
    modules.iter().any(|module| {
        let parent = module.parent.map(|parent| modules[parent].file);
        (module.file == one && parent == Some(other))
            || (module.file == other && parent == Some(one))
    })
}

/// The sets of two or more files of which each reaches each.
fn components(graph: &Graph) -> Vec<BTreeSet<usize>> {
    let reached: BTreeMap<usize, BTreeSet<usize>> =
        graph.keys().map(|file| (*file, reached_from(graph, *file))).collect();
    let mut components = BTreeSet::new();
    for (file, from_here) in &reached {
        let is_mutual = |other: &&usize| reached.get(other).is_some_and(|back| back.contains(file));
        let component: BTreeSet<usize> = from_here.iter().filter(is_mutual).copied().collect();
        if component.len() > 1 {
            components.insert(component);
        }
    }
    components.into_iter().collect()
}

fn reached_from(graph: &Graph, file: usize) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut next = vec![file];
    while let Some(file) = next.pop() {
        let uses = graph.get(&file).into_iter().flat_map(BTreeMap::keys);
        next.extend(uses.filter(|file| reached.insert(**file)));
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::circles;
    use crate::modules::Tree;

    /// The circles of a crate of these files.
    fn circles_of(files: &[(&str, &str)]) -> Vec<String> {
        circles(&Tree::of(files).expect("the fixture parses"))
    }

    #[test]
    fn two_files_that_import_each_other_are_found_with_their_lines() {
        let found = circles_of(&[
            ("lib.rs", "mod a;\nmod b;\n"),
            ("a.rs", "\nuse crate::b::B;\npub struct A(B);\n"),
            ("b.rs", "pub struct B;\nimpl B { fn a(a: super::a::A) {} }\n"),
        ]);
        let want = "2 files import each other: a.rs, b.rs\n    \
                    a.rs -> b.rs: line 2 crate::b::B\n    \
                    b.rs -> a.rs: line 2 super::a::A";
        assert_eq!(found, [want]);
    }

    #[test]
    fn a_circle_through_three_files_a_group_and_a_re_export_is_found() {
        let found = circles_of(&[
            ("lib.rs", "pub mod a; mod b; mod c; pub use c::C;"),
            ("a.rs", "use crate::{b::{B, Other}, unknown}; pub struct A(B);"),
            ("b.rs", "use crate::C; pub struct B; pub struct Other(C);"),
            ("c.rs", "use super::*; pub struct C; fn f() { let _ = vec![crate::a::A::new()]; }"),
        ]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("3 files import each other: a.rs, b.rs, c.rs"), "{found:?}");
    }

    #[test]
    fn a_path_through_an_imported_module_counts() {
        let found = circles_of(&[
            ("lib.rs", "mod a; mod b;"),
            ("a/mod.rs", "mod inner; pub use inner::*;"),
            ("a/inner.rs", "pub fn f() { crate::b::g() }"),
            ("b.rs", "use crate::a; pub fn g() { a::f() }"),
        ]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("a/inner.rs, b.rs"), "{found:?}");
    }

    #[test]
    fn a_module_and_its_child_may_use_each_other() {
        let files = [
            ("lib.rs", "mod a;"),
            ("a.rs", "mod inner; pub struct A(inner::Inner);"),
            ("a/inner.rs", "pub struct Inner(Option<Box<super::A>>);"),
        ];
        assert!(circles_of(&files).is_empty());
    }

    #[test]
    fn tests_and_one_way_imports_do_not_count() {
        let files = [
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "use crate::b::B; pub struct A(B);"),
            ("b.rs", "pub struct B; #[cfg(test)] mod tests { use crate::a::A; }"),
        ];
        assert!(circles_of(&files).is_empty());
    }
}
