//! The order of ARCHITECTURE.md, enforced: a module imports only from modules earlier in the line, and aya and clap
//! are seen by one module each.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use syn::visit::{self, Visit};

/// Everybody may import them, but they import only each other.
const VOCABULARY: &[&str] = &["event", "options", "report", "update"];
/// Crates that one module may see.
const PRIVATE_CRATES: &[(&str, &str)] = &[
    ("aya", "kernel"),
    ("aya_log", "kernel"),
    ("clap", "cli"),
    ("rustls", "probe"),
    ("rustls_native_certs", "probe"),
    ("prost", "export"),
    ("parquet", "export"),
];

#[derive(Default)]
struct Imports {
    /// First segments behind `crate`.
    modules: BTreeSet<String>,
    /// First segments of any path.
    roots: BTreeSet<String>,
}

impl Imports {
    fn path(&mut self, segments: &[String]) {
        match segments {
            [first, second, ..] if first == "crate" => {
                self.modules.insert(second.clone());
            }
            [first, ..] => {
                self.roots.insert(first.clone());
            }
            [] => {}
        }
    }

    fn tree(&mut self, before: &[String], tree: &syn::UseTree) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.tree(&with(&path.ident), &path.tree),
            syn::UseTree::Name(name) => self.path(&with(&name.ident)),
            syn::UseTree::Rename(name) => self.path(&with(&name.ident)),
            syn::UseTree::Glob(_) => self.path(before),
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(before, tree)),
        }
    }
}

impl<'ast> Visit<'ast> for Imports {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.tree(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if segments.len() > 1 || path.leading_colon.is_some() {
            self.path(&segments);
        }
        visit::visit_path(self, path);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }
}

/// `#[cfg(test)]`: tests may look wherever they want.
fn is_test(attrs: &[syn::Attribute]) -> bool {
    attrs.iter().any(|attr| attr.path().is_ident("cfg") && attr.parse_args::<syn::Ident>().is_ok_and(|name| name == "test"))
}

/// Files that only tests have: those behind `#[cfg(test)] mod x;` and `#[path = "x.rs"]` of one.
fn test_files(path: &Path, file: &syn::File) -> Vec<PathBuf> {
    let folder = path.parent().expect("a file has a folder");
    let own = if path.file_name().is_some_and(|name| name == "mod.rs" || name == "lib.rs") { folder.to_owned() } else { path.with_extension("") };
    let modules = file.items.iter().filter_map(|item| match item {
        syn::Item::Mod(module) if module.content.is_none() && is_test(&module.attrs) => Some(module),
        _ => None,
    });
    modules
        .flat_map(|module| {
            let named = module.attrs.iter().find_map(|attr| match &attr.meta {
                syn::Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
                    syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(folder.join(text.value())),
                    _ => None,
                },
                _ => None,
            });
            named.map_or_else(|| vec![own.join(format!("{}.rs", module.ident)), own.join(module.ident.to_string()).join("mod.rs")], |path| vec![path])
        })
        .collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("source folder") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

struct Source {
    path: PathBuf,
    /// First folder or file name below `src`.
    module: String,
    imports: Imports,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let parsed: Vec<(PathBuf, syn::File)> = rust_files(&root)
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("source");
            let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (path, file)
        })
        .collect();
    let tests: Vec<PathBuf> = parsed.iter().flat_map(|(path, file)| test_files(path, file)).collect();
    parsed
        .into_iter()
        .filter(|(path, _)| !tests.contains(path))
        .map(|(path, file)| {
            let inside = path.strip_prefix(&root).expect("below src");
            let first = inside.components().next().expect("a name").as_os_str().to_string_lossy().into_owned();
            let module = first.trim_end_matches(".rs").to_owned();
            let mut imports = Imports::default();
            imports.visit_file(&file);
            Source { path, module, imports }
        })
        .filter(|source| source.module != "lib" && source.module != "main")
        .collect()
}

/// The line of ARCHITECTURE.md, in the order in which data flows. A new module must find its place there.
struct Order(Vec<String>);

impl Order {
    fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ARCHITECTURE.md");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let line = text.lines().find(|line| line.starts_with("event -> ")).expect("ARCHITECTURE.md has the line of modules");
        Self(line.split(" -> ").map(str::to_owned).collect())
    }

    fn place(&self, module: &str) -> Option<usize> {
        self.0.iter().position(|known| known == module)
    }
}

#[test]
fn every_module_has_its_place() {
    let (order, sources) = (Order::read(), sources());
    for source in &sources {
        assert!(order.place(&source.module).is_some(), "{}: `{}` is not in the line of ARCHITECTURE.md", source.path.display(), source.module);
    }
    let gone: Vec<&String> = order.0.iter().filter(|module| sources.iter().all(|source| source.module != **module)).collect();
    assert!(gone.is_empty(), "ARCHITECTURE.md has modules that are not there: {gone:?}");
}

#[test]
fn no_arrow_goes_backwards() {
    let (order, mut wrong) = (Order::read(), Vec::new());
    for source in sources() {
        let own = order.place(&source.module);
        for module in source.imports.modules.iter().filter(|module| **module != source.module) {
            let Some(theirs) = order.place(module) else { continue };
            let is_vocabulary = VOCABULARY.contains(&module.as_str());
            if !is_vocabulary && own.is_none_or(|own| theirs >= own) {
                wrong.push(format!("{}: {} imports {module}, which comes later", source.path.display(), source.module));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn crates_stay_where_they_belong() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (name, owner) in PRIVATE_CRATES {
            if source.imports.roots.contains(*name) && source.module != *owner {
                wrong.push(format!("{}: only {owner} may see {name}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn this_test_sees_arrows() {
    let file = syn::parse_file(
        "use crate::{view::json, event::{Args, Sys}}; fn f() { crate::cli::main(); aya::x(); } #[cfg(test)] mod t { use crate::live; }",
    );
    let mut imports = Imports::default();
    imports.visit_file(&file.expect("parses"));
    let modules: Vec<&str> = imports.modules.iter().map(String::as_str).collect();
    assert_eq!(modules, ["cli", "event", "view"]);
    assert!(imports.roots.contains("aya"));
}

/// With the crates that only build it; whoever installs it builds them all.
#[test]
fn the_default_build_has_fewer_than_120_crates() {
    let tree = ["tree", "--offline", "--package", "mta-trace", "--edges", "normal,build", "--prefix", "none", "--format", "{p}"];
    let output = std::process::Command::new(env!("CARGO")).args(tree).current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo tree");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("names of crates");
    let crates: BTreeSet<&str> = text.lines().filter_map(|line| line.split(" (").next()).collect();
    assert!((20..120).contains(&crates.len()), "{} crates: {crates:?}", crates.len());
}
