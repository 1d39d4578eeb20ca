//! The modules of one crate as its files declare them: what each defines, imports and uses. Items
//! for tests are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// The segments of a path, such as `crate`, `room`, `Room`.
pub type Segments = Vec<String>;

/// How many re-exports a name is followed through.
const STEPS_MAX: usize = 8;

#[derive(Debug, Default)]
pub struct Module {
    /// Its file's index in [`Tree::files`].
    pub file: usize,
    /// Its index in [`Tree::modules`]; none for the crate's root.
    pub parent: Option<usize>,
    children: BTreeMap<String, usize>,
    /// Names of the items that stand here.
    items: BTreeSet<String>,
    /// Names brought here by `use`, and where they lead.
    imports: BTreeMap<String, Segments>,
    /// Modules of which all is brought here.
    globs: Vec<Segments>,
    /// Every path that is written here, with its line.
    pub uses: Vec<(usize, Segments)>,
}

#[derive(Debug, Default)]
pub struct Tree {
    pub files: Vec<PathBuf>,
    pub modules: Vec<Module>,
}

impl Module {
    pub fn is_imported(&self, name: &str) -> bool {
        self.imports.contains_key(name)
    }
}

type Load<'a> = &'a dyn Fn(&Path) -> Option<String>;

impl Tree {
    /// The crate whose root is that file.
    pub fn read(source: &Path) -> Result<Tree, String> {
        Tree::load(source, &|path| fs::read_to_string(path).ok())
    }

    /// A crate of files in memory, the first of which is its root.
    #[cfg(test)]
    pub fn of(files: &[(&str, &str)]) -> Result<Tree, String> {
        Tree::load(Path::new(files[0].0), &|path| {
            let (_, text) = files.iter().find(|(name, _)| Path::new(name) == path)?;
            Some((*text).to_owned())
        })
    }

    fn load(source: &Path, load: Load<'_>) -> Result<Tree, String> {
        let mut tree = Tree::default();
        let folder = source.parent().unwrap_or(Path::new("")).to_owned();
        tree.add_file(source, None, &folder, load)?;
        Ok(tree)
    }

    /// Adds a file as a module; the files of its children lie in `folder`.
    fn add_file(
        &mut self,
        path: &Path,
        parent: Option<usize>,
        folder: &Path,
        load: Load<'_>,
    ) -> Result<usize, String> {
        let text = load(path).ok_or_else(|| format!("cannot read {}", path.display()))?;
        let parsed =
            syn::parse_file(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        self.files.push(path.to_owned());
        let file = self.files.len() - 1;
        let here = path.parent().unwrap_or(Path::new(""));
        self.add_module(file, parent, &parsed.items, (here, folder), load)
    }

    fn add_module(
        &mut self,
        file: usize,
        parent: Option<usize>,
        items: &[syn::Item],
        (here, folder): (&Path, &Path),
        load: Load<'_>,
    ) -> Result<usize, String> {
        let mut reader = Reader::default();
        for item in items.iter().filter(|item| !is_for_tests(attributes(item))) {
            reader.visit_item(item);
        }
        let number = self.modules.len();
        self.modules.push(Module { file, parent, ..reader.module });
        let declared = items.iter().filter_map(|item| match item {
            syn::Item::Mod(module) if !is_for_tests(&module.attrs) => Some(module),
            _ => None,
        });
        for module in declared {
            let name = module.ident.to_string();
            let inner = folder.join(&name);
            let child = match (&module.content, path_attribute(&module.attrs)) {
                (Some((_, items)), _) => {
                    self.add_module(file, Some(number), items, (&inner, &inner), load)?
                }
                (None, Some(path)) => {
                    let path = here.join(path);
                    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
                    self.add_file(&path, Some(number), &folder, load)?
                }
                (None, None) => {
                    let flat = folder.join(format!("{name}.rs"));
                    let nested = inner.join("mod.rs");
                    let path = if load(&flat).is_some() { flat } else { nested };
                    self.add_file(&path, Some(number), &inner, load)?
                }
            };
            self.modules[number].children.insert(name, child);
        }
        Ok(number)
    }

    /// The file that defines what a path in module `from` leads to; none outside of the crate.
    pub fn resolve(&self, from: usize, path: &[String]) -> Option<usize> {
        self.find(from, path, STEPS_MAX).map(|module| self.modules[module].file)
    }

    fn find(&self, from: usize, path: &[String], steps: usize) -> Option<usize> {
        let mut at = from;
        let mut rest = path;
        let mut is_anchored = false;
        while let Some((first, after)) = rest.split_first() {
            match first.as_str() {
                "crate" => at = 0,
                "self" => {}
                "super" => at = self.modules[at].parent?,
                _ => break,
            }
            is_anchored = true;
            rest = after;
        }
        if rest.is_empty() {
            return is_anchored.then_some(at);
        }
        match self.find_in(at, rest, steps) {
            Some(found) => Some(found),
            // A name that a macro made; a bare one may as well be another crate's.
            None => is_anchored.then_some(at),
        }
    }

    /// The module in which the last known segment of `path`, seen from inside `at`, is defined.
    fn find_in(&self, at: usize, path: &[String], steps: usize) -> Option<usize> {
        let module = &self.modules[at];
        let Some((first, rest)) = path.split_first() else { return Some(at) };
        if let Some(child) = module.children.get(first) {
            return Some(self.find_in(*child, rest, steps).unwrap_or(*child));
        }
        if module.items.contains(first) {
            return Some(at);
        }
        let steps = steps.checked_sub(1)?;
        if let Some(import) = module.imports.get(first) {
            // `use bytes::Bytes` names a crate, not what stands here under the same name.
            if import[0] == *first && import.len() == 1 {
                return None;
            }
            let path = [import, rest].concat();
            return self.find(at, &path, steps);
        }
        module.globs.iter().find_map(|glob| {
            let target = self.find(at, glob, steps)?;
            if target == at {
                return None;
            }
            self.find_in(target, path, steps)
        })
    }
}

/// Collects what one module's own items say; nested modules are read on their own.
#[derive(Default)]
struct Reader {
    module: Module,
    depth: usize,
}

impl Reader {
    fn add_use(&mut self, line: usize, path: Segments) {
        self.module.uses.push((line, path));
    }

    fn add_import(&mut self, tree: &syn::UseTree, prefix: &[String]) {
        match tree {
            syn::UseTree::Path(path) => {
                let prefix = [prefix, &[path.ident.to_string()]].concat();
                self.add_import(&path.tree, &prefix);
            }
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.add_import(tree, prefix);
                }
            }
            syn::UseTree::Glob(glob) => {
                let line = glob.star_token.spans[0].start().line;
                self.module.globs.push(prefix.to_vec());
                self.add_use(line, prefix.to_vec());
            }
            syn::UseTree::Name(name) => self.add_name(&name.ident, &name.ident, prefix),
            syn::UseTree::Rename(name) => self.add_name(&name.ident, &name.rename, prefix),
        }
    }

    fn add_name(&mut self, name: &syn::Ident, known_as: &syn::Ident, prefix: &[String]) {
        let mut path = prefix.to_vec();
        let mut known_as = known_as.to_string();
        if name == "self" {
            if known_as == "self" {
                known_as = path.last().cloned().unwrap_or_default();
            }
        } else {
            path.push(name.to_string());
        }
        self.add_use(name.span().start().line, path.clone());
        self.module.imports.insert(known_as, path);
    }

    /// Paths in the arguments of a macro, which are not parsed: `a::b::c` is what counts.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let mut path = Segments::new();
        let mut colons = 0;
        let mut line = 0;
        for token in tokens {
            match &token {
                TokenTree::Punct(punct) if punct.as_char() == ':' => {
                    colons += 1;
                    continue;
                }
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.end_path(line, &mut path);
                    }
                    line = if path.is_empty() { ident.span().start().line } else { line };
                    path.push(ident.to_string());
                }
                other => {
                    self.end_path(line, &mut path);
                    if let TokenTree::Group(group) = other {
                        self.add_tokens(group.stream());
                    }
                }
            }
            colons = 0;
        }
        self.end_path(line, &mut path);
    }

    fn end_path(&mut self, line: usize, path: &mut Segments) {
        let path = std::mem::take(path);
        if path.len() > 1 {
            self.add_use(line, path);
        }
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if is_for_tests(attributes(item)) {
            return;
        }
        if self.depth == 0
            && let Some(name) = name(item)
        {
            self.module.items.insert(name);
        }
        match item {
            syn::Item::Mod(_) => {}
            syn::Item::Use(item) => self.add_import(&item.tree, &[]),
            _ => {
                self.depth += 1;
                visit::visit_item(self, item);
                self.depth -= 1;
            }
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_for_tests(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            let segments: Segments =
                path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            let line = path.segments[0].ident.span().start().line;
            // One segment is an item imported by name, which counts where it is imported, or one
            // from a glob; a name in small letters may also be a variable.
            let is_variable = |name: &str| name.starts_with(|c: char| c.is_lowercase());
            if segments.len() > 1 || !is_variable(&segments[0]) {
                self.add_use(line, segments);
            }
        }
        visit::visit_path(self, path);
    }

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {
        // `pub(in crate::a)` is no import.
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        self.visit_path(&item.path);
        self.add_tokens(item.tokens.clone());
    }
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn name(item: &syn::Item) -> Option<String> {
    let name = match item {
        syn::Item::Const(item) => &item.ident,
        syn::Item::Enum(item) => &item.ident,
        syn::Item::Fn(item) => &item.sig.ident,
        syn::Item::Macro(item) => item.ident.as_ref()?,
        syn::Item::Static(item) => &item.ident,
        syn::Item::Struct(item) => &item.ident,
        syn::Item::Trait(item) => &item.ident,
        syn::Item::Type(item) => &item.ident,
        syn::Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}

/// `#[test]`, and `#[cfg(…)]` that asks for `test`.
fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        if attribute.path().is_ident("test") {
            return true;
        }
        let syn::Meta::List(list) = &attribute.meta else { return false };
        let asks_for_test = |tokens: &TokenStream| {
            let text = tokens.to_string().replace(' ', "").replace("not(test)", "");
            text.split(|c: char| !c.is_alphanumeric()).any(|w| w == "test")
        };
        attribute.path().is_ident("cfg") && asks_for_test(&list.tokens)
    })
}

fn path_attribute(attributes: &[syn::Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        syn::Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    })
}
