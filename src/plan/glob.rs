//! Checks globs of paths in the image: of `creates`, `[[finish.drop]]` and `[[finish.keep]]`.

use super::check::Checker;
use crate::glob::{alternatives, components};
use crate::template::problem::Problem;
use crate::template::schema::Str;

/// Top-level directories of the system. A glob that covers all of one says nothing about the step that creates it; a part of a
/// name is enough: `/etc/app-*`.
///
/// Other directories may be covered. `/opt`, `/srv` and those that a template makes hold nothing of the distribution, by the
/// Filesystem Hierarchy Standard (3.13, 3.17), and neither does `/usr/local` (4.9), which is not at the top. `/tmp`, `/media`
/// and `/mnt` are empty in an image. Files that are run automatically are elsewhere, or their place has to be named:
/// `src/scan/undeclared/named_places.toml`.
const SYSTEM_DIRECTORIES: [&str; 17] = [
    "bin", "boot", "dev", "efi", "etc", "home", "lib", "lib32", "lib64", "libx32", "proc", "root",
    "run", "sbin", "sys", "usr", "var",
];

impl Checker<'_> {
    /// Checks a glob. `help` has a valid one.
    pub(super) fn image_glob(&mut self, glob: &Str, help: &str) {
        let (text, known) = (glob.get_ref(), self.problems.len());
        self.guest_path(glob);
        if self.problems.len() > known {
            return;
        }
        let problem = |what: String| Problem::at(glob.span(), what);
        let problem = if let Err(error) = fast_glob::validate(text) {
            problem(format!("invalid glob {text:?}")).help(error.to_string())
        } else if let Some(covered) = covered(text) {
            problem(format!("{text:?} covers {covered}")).help(help)
        } else if let Some(normal) = normalized(text) {
            problem(format!("{text:?} has empty names, `.` or `..`"))
                .help(format!("write {normal:?}"))
        } else {
            return;
        };
        self.report(problem);
    }
}

/// Describes the part of an image that a glob covers if that is too much.
fn covered(glob: &str) -> Option<String> {
    let Some(alternatives) = alternatives(glob) else {
        return Some("more paths than a declaration can list".to_owned());
    };
    alternatives.iter().find_map(|glob| covered_by_one(glob))
}

/// Describes the part of an image that a glob without braces covers if that is too much.
fn covered_by_one(glob: &str) -> Option<String> {
    let mut names = Vec::new();
    for name in components(glob) {
        match (name.literal.as_str(), name.has_wildcard) {
            ("" | ".", false) => {}
            ("..", false) => drop(names.pop()),
            _ => names.push(name),
        }
    }
    let Some(top) = names.iter().find(|name| !name.literal.is_empty()) else {
        return Some("the whole image".to_owned());
    };
    if names[0].has_wildcard {
        return Some("more than one top-level directory".to_owned());
    }
    let is_whole = names.get(1).is_none_or(|name| name.literal.is_empty());
    let is_system = SYSTEM_DIRECTORIES.contains(&top.literal.as_str());
    (is_system && is_whole).then(|| format!("all of /{}", top.literal))
}

/// Returns a glob without empty names, `.` and `..`, if it has some. With those it matches no path.
fn normalized(glob: &str) -> Option<String> {
    let mut names = Vec::new();
    for name in glob.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    let normal = format!("/{}", names.join("/"));
    (normal != glob.trim_end_matches('/')).then_some(normal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_says_which_part_of_a_directory_of_the_system_it_means() {
        for (glob, expected) in [
            ("/", "the whole image"),
            ("/*", "the whole image"),
            ("/**", "the whole image"),
            ("/./**", "the whole image"),
            ("/{*,opt}", "the whole image"),
            ("/opt/../**", "the whole image"),
            ("/**/x", "more than one top-level directory"),
            ("/*/app/**", "more than one top-level directory"),
            ("/e*/**", "more than one top-level directory"),
            ("/?tc/**", "more than one top-level directory"),
            ("/[e]tc/**", "more than one top-level directory"),
            ("/etc", "all of /etc"),
            ("/etc/", "all of /etc"),
            ("/etc/**", "all of /etc"),
            ("/usr/*", "all of /usr"),
            ("/{etc,usr}/**", "all of /"),
            ("/{opt/{app,..},srv}/../etc/**", "all of /etc"),
            ("/./etc/**", "all of /etc"),
            ("//etc/**", "all of /etc"),
            ("/etc/../usr/**", "all of /usr"),
            ("/\\etc/**", "all of /etc"),
            ("/etc/?*", "all of /etc"),
            ("/etc/[!x]*/**", "all of /etc"),
            ("/etc/{app,*}/**", "all of /etc"),
            ("/var/*/app", "all of /var"),
            ("/home/*/.ssh/**", "all of /home"),
            ("/etc/app-*", ""),
            ("/etc/{app,app.d}/**", ""),
            ("/opt/**", ""),
            ("/srv/*", ""),
            ("/data/**", ""),
            ("/usr/local/**", ""),
            ("/usr/lib/**", ""),
            ("/var/lib/app", ""),
        ] {
            let found = covered(glob).unwrap_or_default();
            assert!(found.starts_with(expected), "{glob}: {found}");
            assert_eq!(found.is_empty(), expected.is_empty(), "{glob}: {found}");
        }
    }
}
