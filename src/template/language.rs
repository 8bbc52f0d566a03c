//! Recognizes files that are written in another language than TOML.

use std::path::Path;

use serde::de::IgnoredAny;
use toml::de::DeTable;

use super::problem::Problem;

/// Blocks of Packer's HCL. Configuration files in a template's strings have other ones, such as `server {`.
const BLOCKS: [&str; 11] = [
    "packer",
    "variable",
    "variables",
    "locals",
    "local",
    "source",
    "build",
    "data",
    "provisioner",
    "post-processor",
    "post-processors",
];

/// Recognizes text in another language. `text` is no TOML.
pub(super) fn other_language(text: &str) -> Option<Problem> {
    // The strings of a template with a typo may hold anything.
    let is_template = text
        .lines()
        .any(|line| line.trim_start().starts_with("[image]"));
    if is_template {
        return None;
    }
    language_of(text).map(refused)
}

/// Recognizes a file by its extension, for text that may be TOML by chance. A template is accepted with any.
pub(crate) fn other_file(path: &Path, text: &str) -> Option<Problem> {
    let name = path.file_name()?.to_str()?;
    let language = match name.rsplit_once('.')?.1 {
        "hcl" => "HCL",
        "json" => "JSON",
        "yaml" | "yml" => "YAML",
        _ => return None,
    };
    match DeTable::parse(text) {
        Ok(tree) if tree.get_ref().contains_key("image") => None,
        Ok(_) if name.ends_with(".pkrvars.hcl") => {
            let what = "this is a file of variables, not a template";
            let path = path.display();
            let help =
                format!("name it after a template: `karat build TEMPLATE --var-file {path}`");
            Some(Problem::nowhere(what).help(help))
        }
        _ => Some(refused(language)),
    }
}

fn refused(language: &str) -> Problem {
    Problem::nowhere(format!("this is {language}, and karat reads TOML")).help(
        "`karat init` writes a template to start from; docs/how-to/packer-migration.md lists Packer's options with their counterparts",
    )
}

fn language_of(text: &str) -> Option<&'static str> {
    let is_comment = |line: &&str| ["#", "//", "/*"].iter().any(|mark| line.starts_with(mark));
    let lines = text.lines().map(str::trim);
    let mut lines = lines.filter(|line| !line.is_empty() && !is_comment(line));
    let first = lines.next()?;
    if ["{", "[{"].iter().any(|start| first.starts_with(start)) || first == "[" || is_json(text) {
        Some("JSON")
    } else if first == "---"
        || first.starts_with("- ")
        || first.starts_with("%YAML")
        || is_entry(first)
    {
        Some("YAML")
    } else if block(first).is_some()
        || lines.any(|line| block(line).is_some_and(|word| BLOCKS.contains(&word)))
    {
        Some("HCL")
    } else {
        None
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// Returns true for an entry of YAML: `image:` or `name: web`.
fn is_entry(line: &str) -> bool {
    let (key, value) = line.split_once(':').unwrap_or_default();
    let is_key = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    !key.is_empty() && key.bytes().all(is_key) && (value.is_empty() || value.starts_with(' '))
}

/// Returns the first word of a line that begins a block of HCL: a word, labels in quotes, `{`.
fn block(line: &str) -> Option<&str> {
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || "_-".contains(letter);
    let end = line.find(|letter| !is_word(letter))?;
    let (word, mut rest) = line.split_at(end);
    rest = rest.trim_start();
    while let Some(label) = rest.strip_prefix('"') {
        rest = label.split_once('"')?.1.trim_start();
    }
    (!word.is_empty() && rest.starts_with('{')).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_are_told_apart_by_their_text() {
        for (text, expected) in [
            (
                "source \"qemu\" \"web\" {\n  iso_url = \"x\"\n}\n",
                Some("HCL"),
            ),
            ("variable \"region\" { default = \"x\" }\n", Some("HCL")),
            ("// region\nvariable \"y\" {}\n", Some("HCL")),
            ("x = 1\nlocals {\n  y = x\n}\n", Some("HCL")),
            ("{\"builders\": []}", Some("JSON")),
            ("[{\"type\": \"qemu\"}]", Some("JSON")),
            ("[\n  {}\n]", Some("JSON")),
            ("[\"a\", \"b\"]", Some("JSON")),
            ("image:\n  name: web\n", Some("YAML")),
            ("- image\n", Some("YAML")),
            ("%YAML 1.2\n---\n", Some("YAML")),
            ("[builder.qemu]\ncpus = \n", None),
            ("[[provision]]\nreboot = {\n", None),
            (
                "[image]\nname = \"web\ncontent = \"\"\"\nbuild {\n\"\"\"\n",
                None,
            ),
            ("x = \"\"\"\nserver {\n}\n\"\"\"\ny = \n", None),
            ("", None),
        ] {
            let found = other_language(text).map(|problem| problem.what);
            let expected = expected.map(|name| format!("this is {name}, and karat reads TOML"));
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn the_extension_decides_for_text_that_is_toml_by_chance() {
        for (name, text, expected) in [
            (
                "web.pkrvars.hcl",
                "region = \"x\"\n",
                "this is a file of variables",
            ),
            ("web.pkr.hcl", "region = \"x\"\n", "this is HCL"),
            ("web.json", "", "this is JSON"),
            ("web.yml", "x = 1", "this is YAML"),
            ("web.hcl", "[image]\nname = \"web\"\n", ""),
            ("web.toml", "region = \"x\"\n", ""),
            ("web", "region = \"x\"\n", ""),
        ] {
            let found = other_file(Path::new(name), text).map(|problem| problem.what);
            let found = found.unwrap_or_default();
            assert!(found.starts_with(expected), "{name}: {found}");
            assert_eq!(found.is_empty(), expected.is_empty(), "{name}: {found}");
        }
    }
}
