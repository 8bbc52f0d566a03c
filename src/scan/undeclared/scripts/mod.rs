//! Paths that were made before the first step: by maintainer scripts, or by the running system.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use serde::Deserialize;

use super::{Compare, Root};
use crate::disk::tree::Content;
use crate::distro::python::source_of_compiled;
use crate::embedded::rows;

mod accept;
mod code;

pub(super) use accept::Acceptable;

/// Paths that scripts of a known package make: an entry of `classes.toml`, which describes the fields.
#[derive(PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScriptClass {
    paths: Vec<&'static str>,
    packages: Vec<&'static str>,
    #[serde(default)]
    code: bool,
    reason: &'static str,
}

static CLASSES: LazyLock<Vec<ScriptClass>> =
    LazyLock::new(|| rows(include_str!("classes.toml"), "class"));

/// Packages that made what no package has, as far as it can be told.
pub(super) struct ScriptPackages<'a> {
    root: &'a Root<'a>,
    base: &'a Root<'a>,
    compare: &'a Compare<'a>,
    installed: HashSet<&'a str>,
    /// Packages of the lock by the paths that their scripts name; `None` for several packages.
    named: HashMap<&'a str, Option<&'a str>>,
}

impl<'a> ScriptPackages<'a> {
    pub fn new(compare: &'a Compare<'a>) -> Self {
        let mut named = HashMap::new();
        for (package, script) in compare.packaged.scripts() {
            for path in paths_in(script) {
                let by = named.entry(path).or_insert(Some(package));
                *by = by.filter(|by| *by == package);
            }
        }
        let installed = compare.now.packages.iter();
        Self {
            root: compare.root,
            base: compare.base,
            compare,
            installed: installed.map(|package| package.name.as_str()).collect(),
            named,
        }
    }

    /// Returns the package that made a path: of a known class, else the one whose scripts name the path or a new directory above
    /// it, else the one that has this directory.
    pub fn package_of(&self, path: &[u8]) -> Option<&'a str> {
        self.of_class(path)
            .or_else(|| self.of_source(path))
            .or_else(|| self.of_script(path))
    }

    fn of_class(&self, path: &[u8]) -> Option<&'a str> {
        let mut classes = CLASSES.iter().filter(|class| class.matches(path));
        classes.find_map(|class| class.installed(&self.installed))
    }

    /// Returns the package of the source of a compiled module, or of the unit that a link enables.
    fn of_source(&self, path: &[u8]) -> Option<&'a str> {
        let packaged = self.compare.packaged;
        if let Some(source) = source_of_compiled(path) {
            return packaged.owner(&source);
        }
        let target = match &self.root.get(path)?.content {
            Content::Link(target) if path.starts_with(b"/etc/systemd/") => target,
            _ => return None,
        };
        let unit = self.compare.unit_of(&String::from_utf8_lossy(path), target);
        packaged.owner(&unit?)
    }

    fn of_script(&self, path: &[u8]) -> Option<&'a str> {
        let packaged = self.compare.packaged;
        let named = |path: &[u8]| {
            let path = str::from_utf8(path).ok()?;
            // Packages from before the merger of `/bin` and `/usr/bin` name the former.
            let before = path.strip_prefix("/usr").unwrap_or(path);
            self.named.get(path).or_else(|| self.named.get(before))
        };
        if let Some(Some(package)) = named(path) {
            return Some(*package);
        }
        // A directory of the base belongs to several packages.
        let above = ancestors(path).take_while(|above| self.base.tree().find(above).is_none());
        let above = above.map(|above| {
            let owner = packaged.owner(above);
            let owner = owner.filter(|owner| self.compare.is_new(owner));
            named(above).copied().flatten().or(owner)
        });
        above.flatten().next()
    }
}

impl ScriptClass {
    fn matches(&self, path: &[u8]) -> bool {
        let mut globs = self.paths.iter();
        globs.any(|glob| fast_glob::glob_match(glob, path))
    }

    /// Returns the first of the packages that is installed.
    fn installed(&self, installed: &HashSet<&str>) -> Option<&'static str> {
        let mut packages = self.packages.iter();
        packages
            .find(|package| installed.contains(**package))
            .copied()
    }
}

/// Returns the directories above a path, the nearest first, without `/`.
fn ancestors(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = path.iter().enumerate().skip(1).rev();
    let slashes = slashes.filter(|(_, byte)| **byte == b'/');
    slashes.map(|(at, _)| &path[..at])
}

/// Returns the absolute paths that a script names, without wildcards and variables.
fn paths_in(script: &str) -> impl Iterator<Item = &str> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || "/._+@~-".contains(letter);
    let words = script.split(move |letter| !is_part(letter));
    let paths = words.map(|word| {
        // The root that dpkg installs to, as in `$DPKG_ROOT/etc`.
        let path = word.strip_prefix("DPKG_ROOT").unwrap_or(word);
        path.trim_end_matches(['/', '.'])
    });
    paths.filter(|path| path.starts_with('/') && path.len() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_name_paths_in_several_ways() {
        for (script, expected) in [
            ("touch /etc/web.conf\n", "/etc/web.conf"),
            ("rm -rf \"/var/cache/web/\"*", "/var/cache/web"),
            ("x=/srv/web; chown web:web /srv/web/.", "/srv/web /srv/web"),
            ("if [ -e \"$DPKG_ROOT/etc/web\" ]; then", "/etc/web"),
            ("PATH=/sbin:/bin; cd $dir/lib", "/sbin /bin"),
            ("cd /; cat <<EOF >/dev/null", "/dev/null"),
            ("echo etc/web", ""),
        ] {
            assert_eq!(
                paths_in(script).collect::<Vec<_>>().join(" "),
                expected,
                "{script}"
            );
        }
    }

    #[test]
    fn every_class_has_paths_packages_and_a_reason() {
        for class in &*CLASSES {
            assert!(!class.packages.is_empty(), "{class:?}");
            assert!(class.reason.len() > 20, "{class:?}");
            for glob in &class.paths {
                assert!(glob.starts_with('/'), "{glob}");
                fast_glob::validate(glob).unwrap();
            }
        }
    }
}
