//! All sources of the repository: specs, the standard library, suites, examples of the documentation.

use crate::case::{Case, cases};
use crate::markdown::arch_blocks;
use std::fs;
use std::path::{Path, PathBuf};

/// A source by name.
#[derive(Clone, Debug)]
pub struct Source {
    pub name: String,
    pub text: String,
}

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// The text of a file of the repository.
pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| format!("{path}: {error}"))
}

/// Files with an ending under a folder of the repository, as paths from its root, in order.
pub fn files(folder: &str, ending: &str) -> Vec<String> {
    let mut found: Vec<String> = vec![];
    let mut open = vec![root().join(folder)];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|own| own == ending) {
                let relative = path.strip_prefix(root()).unwrap_or(&path);
                found.push(relative.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    found.sort();
    found
}

/// Published specs and the standard library.
pub fn specs() -> Vec<Source> {
    let all = files("specs", "arch").into_iter();
    all.map(|name| Source { text: read(&name), name }).collect()
}

/// The cases of all suites.
pub fn suites() -> Vec<Case> {
    let all = files("tests/suites", "md").into_iter();
    all.flat_map(|name| cases(&name, arch_blocks(&read(&name)))).collect()
}

/// The examples of the language reference.
pub fn reference() -> Vec<Case> {
    let name = "specs/README.md";
    cases(name, arch_blocks(&read(name)))
}

/// Every source there is.
pub fn everything() -> Vec<Source> {
    let mut sources = specs();
    for case in suites().into_iter().chain(reference()) {
        let line = case.line();
        let of = |name: &str| format!("{}:{line} {name}", case.suite);
        sources.extend(case.files.into_iter().map(|file| Source { name: of(&file.name), text: file.text }));
    }
    sources
}
