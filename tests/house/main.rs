//! House rules that no other tool checks: the order of rooms, the share of odd prose, the number of packages, and the
//! architecture page. All of them read sources; none builds or runs karat.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

/// Largest share of doc blocks with a mark, in percent. Mature command-line tools have about 5 %, without the short ones.
const MAX_MARKED_PERCENT: f64 = 5.0;
/// Words that a doc block needs at least: a shorter one restates the name.
const MIN_DOC_WORDS: usize = 4;
/// Largest number of packages in `Cargo.lock`, for all platforms and development. Raise it in the commit that says what
/// the new dependency saves.
const MAX_PACKAGES: usize = 420;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the Rust files below a directory of the project, in order.
fn sources(directory: &str) -> Vec<PathBuf> {
    files(directory, "rs")
}

/// Returns the files with an extension below a directory of the project, in order.
fn files(directory: &str, extension: &str) -> Vec<PathBuf> {
    let (mut files, mut open) = (Vec::new(), vec![root().join(directory)]);
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// Returns the rooms of `src`, top to bottom: the modules of `src/lib.rs`, in the order of the file.
fn rooms() -> Vec<String> {
    let module = Regex::new(r"(?m)^pub(?:\(crate\))? mod ([a-z0-9_]+);").unwrap();
    let text = read("src/lib.rs");
    module
        .captures_iter(&text)
        .map(|found| found[1].to_owned())
        .collect()
}

/// Returns the doc blocks of a source: the joined text of consecutive `///` lines, with the number of the first.
fn doc_blocks(source: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut current: Option<(usize, Vec<&str>)> = None;
    for (number, line) in source.lines().chain([""]).enumerate() {
        if let Some(text) = line.trim().strip_prefix("///") {
            let (_, lines) = current.get_or_insert((number + 1, Vec::new()));
            lines.push(text.trim());
        } else if let Some((number, lines)) = current.take() {
            blocks.push((number, lines.join(" ")));
        }
    }
    blocks
}

#[test]
fn docs_speak_the_language_of_the_trade() {
    // docs/contributing.md, "Words", says what to write instead.
    let marks = Regex::new(
        r"(?-u)^(What|Where|Whether|Who|Whose|Whom|Why|How)\b|\b(nobody|somebody|whoever|anew|so many|any more|mend|to be had)\b|\bis (no|none)\b",
    )
    .unwrap();
    let (mut blocks, mut marked) = (0_u32, Vec::new());
    for path in sources("src") {
        for (line, text) in doc_blocks(&read(&path)) {
            blocks += 1;
            if marks.is_match(&text) || text.split_whitespace().count() < MIN_DOC_WORDS {
                let path = path.strip_prefix(root()).unwrap().display();
                marked.push(format!("{path}:{line}: {text}"));
            }
        }
    }
    let percent = 100.0 * f64::from(u32::try_from(marked.len()).unwrap()) / f64::from(blocks);
    println!("{percent:.1} % of {blocks} doc blocks are marked");
    assert!(
        percent < MAX_MARKED_PERCENT,
        "{percent:.1} % of {blocks} doc blocks are marked:\n{}",
        marked.join("\n")
    );
}

/// Returns the room that a file of `src` is in: its first folder, or its own name. `None` for the crate's roots.
fn room_of(path: &Path) -> Option<String> {
    let inside = path.strip_prefix(root().join("src")).unwrap();
    let first = inside.iter().next()?.to_str()?;
    let room = first.strip_suffix(".rs").unwrap_or(first);
    (room != "lib" && room != "main").then(|| room.to_owned())
}

/// Returns the module files that a source declares for tests only: `#[cfg(test)] mod tests;`.
fn test_modules(path: &Path, source: &str) -> Vec<PathBuf> {
    let declared =
        Regex::new(r"(?-u)#\[cfg\(test\)\]\s*(?:pub[a-z()]*\s+)?mod\s+([a-z0-9_]+);").unwrap();
    let directory = if path.ends_with("mod.rs") {
        path.parent().unwrap().to_owned()
    } else {
        path.with_extension("")
    };
    let names = declared
        .captures_iter(source)
        .map(|found| directory.join(&found[1]));
    names.collect()
}

/// Returns the names that a source uses from the crate's root, without comments, strings and inline test modules.
fn used_rooms(path: &Path, source: &str) -> BTreeSet<String> {
    // Inline tests stand last in a file.
    let end =
        Regex::new(r"(?-u)#\[cfg\(test\)\]\s*(?:pub[a-z()]*\s+)?mod\s+[a-z0-9_]+\s*\{").unwrap();
    let source = end
        .find(source)
        .map_or(source, |found| &source[..found.start()]);
    let comment = Regex::new(r"//[^\n]*").unwrap();
    let source = comment.replace_all(source, "");
    let mut used = BTreeSet::new();
    let path_start = Regex::new(r"(?-u)\bcrate::(?:\{|([a-z0-9_]+))").unwrap();
    for found in path_start.captures_iter(&source) {
        match found.get(1) {
            Some(name) => drop(used.insert(name.as_str().to_owned())),
            None => used.extend(group_heads(&source[found.get(0).unwrap().end()..])),
        }
    }
    // In the file of a room itself, `super` is the crate's root.
    let is_root = path.ends_with("mod.rs")
        && path.parent().unwrap().parent().unwrap().ends_with("src")
        || path.parent().unwrap().ends_with("src");
    if is_root {
        let parent = Regex::new(r"(?-u)\bsuper::([a-z0-9_]+)").unwrap();
        used.extend(
            parent
                .captures_iter(&source)
                .map(|found| found[1].to_owned()),
        );
    }
    used
}

/// Returns the first names in a group of imports, after its opening brace: `a` and `b` of `{a::{c, d}, b}`.
fn group_heads(rest: &str) -> Vec<String> {
    let (mut heads, mut word, mut depth) = (Vec::new(), String::new(), 0);
    for letter in rest.chars() {
        match letter {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '}' | ',' if depth == 0 => {
                let head = word.split("::").next().unwrap_or_default();
                heads.push(
                    head.split_whitespace()
                        .next()
                        .unwrap_or_default()
                        .to_owned(),
                );
                word.clear();
                if letter == '}' {
                    break;
                }
            }
            letter if depth == 0 => word.push(letter),
            _ => {}
        }
    }
    heads.retain(|head| !head.is_empty());
    heads
}

#[test]
fn no_room_uses_one_above_it() {
    let order = rooms();
    let position = |room: &str| order.iter().position(|name| name == room);
    let files: Vec<_> = sources("src")
        .into_iter()
        .map(|path| {
            let text = read(&path);
            (path, text)
        })
        .collect();
    let tests: Vec<PathBuf> = files
        .iter()
        .flat_map(|(path, text)| test_modules(path, text))
        .collect();
    let is_test = |path: &Path| {
        tests
            .iter()
            .any(|module| path == module.with_extension("rs") || path.starts_with(module))
    };
    let mut wrong = Vec::new();
    let mut found = BTreeSet::new();
    for (path, text) in &files {
        let Some(room) = room_of(path) else { continue };
        found.insert(room.clone());
        let Some(own) = position(&room) else { continue };
        if is_test(path) {
            continue;
        }
        for used in used_rooms(path, text) {
            if position(&used).is_some_and(|used| used < own) {
                let path = path.strip_prefix(root()).unwrap().display();
                wrong.push(format!("{path}: {room} uses {used}, which is above it"));
            }
        }
    }
    let listed: BTreeSet<String> = order.iter().cloned().collect();
    assert_eq!(
        listed, found,
        "the modules of src/lib.rs and the folders of src"
    );
    assert_eq!(listed.len(), order.len(), "a room is listed twice");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_architecture_page_describes_every_room_in_order() {
    let page = read("docs/architecture.md");
    let heading = Regex::new(r"(?m)^\*\*`([a-z0-9_]+)`\*\*").unwrap();
    let described: Vec<String> = heading
        .captures_iter(&page)
        .map(|found| found[1].to_owned())
        .collect();
    assert_eq!(described, rooms());
}

#[test]
fn the_reference_has_every_variable() {
    let page = read("docs/reference/environment.md") + &read("docs/reference/shell-step.md");
    let variable = Regex::new(r#""(KARAT_[A-Z_]+)""#).unwrap();
    // Of tests, of karat's children, of scripts that karat runs in the guest, of completions, and of the build of karat.
    let internal = [
        "KARAT_SOAK_ROUNDS",
        "KARAT_TEST_PYTHON",
        "KARAT_WRITE_DOCS",
        "KARAT_WRITE_SCHEMA",
        "KARAT_DIRECTORY",
        "KARAT_PROXY",
        "KARAT_COMPLETE",
        "KARAT_COMMIT",
    ];
    for path in sources("src") {
        for name in variable.captures_iter(&read(&path)) {
            let name = &name[1];
            assert!(
                internal.contains(&name) || page.contains(name),
                "{name} of {} is not documented",
                path.display()
            );
        }
    }
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut pages = vec![root().join("README.md")];
    pages.extend(files("docs", "md"));
    pages.extend(files("examples", "md"));
    let link = Regex::new(r"\]\(([^)#:]*)(#[^)]*)?\)").unwrap();
    for page in pages {
        let text = read(&page);
        for link in link.captures_iter(&text) {
            let target = match &link[1] {
                "" => page.clone(),
                path => page.parent().unwrap().join(path),
            };
            assert!(target.exists(), "{}: {}", page.display(), &link[0]);
            if let Some(anchor) = link.get(2) {
                let anchors = anchors(&read(&target));
                assert!(
                    anchors.contains(&anchor.as_str()[1..]),
                    "{}: {}",
                    page.display(),
                    &link[0]
                );
            }
        }
    }
}

/// Returns the anchors of a page's headings, as GitHub and GitLab make them.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter_map(|line| line.strip_prefix('#'));
    let anchor = |heading: &str| {
        let text = heading
            .trim_start_matches('#')
            .trim()
            .to_lowercase()
            .replace(' ', "-");
        text.chars()
            .filter(|c| c.is_alphanumeric() || "-_".contains(*c))
            .collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn dependencies_stay_few() {
    let count = read("Cargo.lock").matches("[[package]]\n").count();
    println!("{count} packages in Cargo.lock");
    assert!(
        count <= MAX_PACKAGES,
        "{count} packages in Cargo.lock; at most {MAX_PACKAGES} are allowed"
    );
}

#[test]
fn groups_of_imports_are_read() {
    let source = "use crate::{a::{b, c}, d::e as f, g};\nfn x() { crate::h::i(); }\n// crate::j\n";
    let used = used_rooms(&root().join("src/x/y.rs"), source);
    assert_eq!(used.into_iter().collect::<Vec<_>>(), ["a", "d", "g", "h"]);
    let tested = format!("{source}#[cfg(test)]\nmod tests {{\n    use crate::k;\n}}\n");
    assert!(!used_rooms(&root().join("src/x/y.rs"), &tested).contains("k"));
    assert!(used_rooms(&root().join("src/x.rs"), "use super::k;").contains("k"));
}
