//! Code blocks of the documentation that are marked with `<!-- run -->`, executed with the real binary. The blocks of a page
//! share a directory. `<!-- run after: COMMAND -->` executes a command first, which the page does not show.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::site::Site;

/// A marked block of code.
struct Block {
    line: usize,
    /// Commands, one a line, with the output that the page shows.
    commands: Vec<(String, Option<String>)>,
}

/// Returns the marked blocks of a page.
fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = page.lines().enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        let Some(mark) = line.strip_prefix("<!-- run") else {
            continue;
        };
        let mark = mark.strip_suffix("-->").expect("the mark is one line");
        let mut commands = Vec::new();
        if let Some(first) = mark.strip_prefix(" after: ") {
            commands.push((first.trim().to_owned(), None));
        }
        while lines.next_if(|(_, line)| line.is_empty()).is_some() {}
        let (_, fence) = lines.peek().copied().unwrap_or_default();
        let code: Vec<&str> = if fence.starts_with("```") {
            lines.next();
            let code = std::iter::from_fn(|| lines.next_if(|(_, line)| !line.starts_with("```")));
            code.map(|(_, line)| line).collect()
        } else {
            let code = std::iter::from_fn(|| lines.next_if(|(_, line)| line.starts_with("    ")));
            code.map(|(_, line)| &line[4..]).collect()
        };
        assert!(!code.is_empty(), "line {}: no block follows", number + 1);
        if fence == "```console" {
            commands.extend(transcript(&code));
        } else {
            commands.push((code.join("\n"), None));
        }
        blocks.push(Block {
            line: number + 1,
            commands,
        });
    }
    blocks
}

/// Splits a transcript into commands and their outputs.
fn transcript(code: &[&str]) -> Vec<(String, Option<String>)> {
    let mut commands: Vec<(String, Option<String>)> = Vec::new();
    for line in code {
        if let Some(command) = line.strip_prefix("$ ") {
            commands.push((command.to_owned(), Some(String::new())));
        } else if let Some((_, Some(output))) = commands.last_mut() {
            output.extend([line, "\n"]);
        }
    }
    commands
}

/// Compares an output with that of a page, where `...` stands for the rest of a line.
fn is_like(said: &str, expected: &str) -> bool {
    let same = |(said, expected): (&str, &str)| match expected.strip_suffix("...") {
        Some(start) => said.starts_with(start),
        None => said == expected,
    };
    said.lines().count() == expected.lines().count() && said.lines().zip(expected.lines()).all(same)
}

/// Runs the marked blocks of a page in order; returns their number.
fn run(path: &Path) -> usize {
    let blocks = blocks(&fs::read_to_string(path).unwrap());
    if blocks.is_empty() {
        return 0;
    }
    let site = Site::new();
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    for directory in ["templates", "provisioners"] {
        std::os::unix::fs::symlink(repository.join(directory), site.path(directory)).unwrap();
    }
    fs::create_dir(site.path("bin")).unwrap();
    let binary = env!("CARGO_BIN_EXE_karat");
    std::os::unix::fs::symlink(binary, site.path("bin/karat")).unwrap();
    // A block may change the directory for those that follow.
    let kept = site.path("bin/directory");
    let mut directory = site.root().to_owned();
    for block in &blocks {
        for (command, expected) in &block.commands {
            let output = Command::new("/bin/sh")
                .args([
                    "-euc",
                    &format!("exec 2>&1\ntrap 'pwd >\"$0\"' EXIT\n{command}"),
                ])
                .arg(&kept)
                .env_clear()
                .env(
                    "PATH",
                    format!("{}:/usr/bin:/bin", site.path("bin").display()),
                )
                .env("HOME", site.path("home"))
                .current_dir(&directory)
                .output()
                .unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            let place = format!("{}:{}: {command}\n{said}", path.display(), block.line);
            assert!(output.status.success(), "{place}");
            directory = fs::read_to_string(&kept).unwrap().trim_end().into();
            if let Some(expected) = expected {
                assert!(
                    is_like(&said, expected),
                    "{place}\nand the page has\n{expected}"
                );
            }
        }
    }
    blocks.len()
}

/// Returns all pages of the documentation.
fn pages(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let found = entries.flat_map(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            pages(&path)
        } else {
            vec![path]
        }
    });
    found
        .filter(|path| path.extension().is_some_and(|kind| kind == "md"))
        .collect()
}

#[test]
fn marked_commands_of_the_documentation_run() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = pages(&repository.join("docs"));
    pages.push(repository.join("README.md"));
    let count: usize = pages.iter().map(|page| run(page)).sum();
    assert!(count >= 10, "{count} marked blocks");
}
