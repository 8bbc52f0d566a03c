//! Templates that a path probably means, if no template has that path.

use std::fs;
use std::path::{Path, PathBuf};

use super::template_of_lock;
use crate::template::problem::nearest;

/// Returns the templates in the directory `path`, or beside `path` the one that has its name without `.toml` or a similar name.
#[must_use]
pub fn nearby_templates(path: &Path) -> Vec<PathBuf> {
    if path.is_dir() {
        return templates(path);
    }
    let with_extension = path.with_added_extension("toml");
    if with_extension.is_file() {
        return vec![with_extension];
    }
    let siblings = templates(path.parent().unwrap_or(Path::new("")));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let file_name = |path: &PathBuf| path.file_name()?.to_str().map(str::to_owned);
    let names: Vec<String> = siblings.iter().filter_map(file_name).collect();
    let nearest = nearest(&name, names.iter().map(String::as_str));
    let nearest = nearest.map(|name| path.with_file_name(name));
    nearest.into_iter().collect()
}

/// Returns the TOML files in a directory, without lock files, sorted. A directory that cannot be read has none.
fn templates(directory: &Path) -> Vec<PathBuf> {
    let shown = directory.strip_prefix(".").unwrap_or(directory);
    let listed = if shown == Path::new("") {
        Path::new(".")
    } else {
        shown
    };
    let entries = fs::read_dir(listed).into_iter().flatten().flatten();
    let paths = entries.map(|entry| shown.join(entry.file_name()));
    let is_template = |path: &PathBuf| {
        path.extension()
            .is_some_and(|extension| extension == "toml")
            && template_of_lock(path).is_none()
            && path.is_file()
    };
    let mut paths: Vec<PathBuf> = paths.filter(is_template).collect();
    paths.sort();
    paths
}
