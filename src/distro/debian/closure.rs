//! Packages of a machine that nothing depends on.

use std::collections::{BTreeMap, BTreeSet};

use super::relation::{self, Alternative};
use super::status::Package;

/// Packages that a machine keeps whatever a template declares: without them it would not boot, or karat could not log
/// in, one a line. A trailing `*` matches any suffix. Essential packages need no entry.
const ROOTS: &str = include_str!("roots.txt");

#[derive(Clone, Copy, Debug)]
pub struct Declared<'a> {
    /// Package names, with or without `=version` and `:architecture`.
    pub names: &'a [String],
    /// Packages to be installed, with their dependencies.
    pub coming: &'a [Package<'a>],
    /// Treats recommendations as dependencies.
    pub recommends: bool,
}

/// Returns the packages of `installed` that neither the machine nor a declared package depends on, sorted by name.
///
/// In doubt a package is kept: all installed alternatives of a dependency, and every version of a name if no installed
/// version satisfies it.
pub fn unneeded<'a>(installed: &'a [Package<'a>], declared: Declared<'_>) -> Vec<&'a Package<'a>> {
    let machine = Machine::new(installed);
    let mut needed = BTreeSet::new();
    let mut queue = Vec::new();
    for (index, package) in installed.iter().enumerate() {
        if package.essential || roots().any(|root| is_root(package.name, root)) {
            queue.push(index);
        }
    }
    for name in declared.names {
        let name = name.split(['=', ':']).next().unwrap_or_default();
        queue.extend(machine.all(&Alternative {
            name,
            constraint: None,
        }));
    }
    for package in declared.coming {
        queue.extend(machine.needs_of(package, declared.recommends));
    }
    while let Some(index) = queue.pop() {
        if needed.insert(index) {
            queue.extend(machine.needs_of(&installed[index], declared.recommends));
        }
    }
    let rest = installed.iter().enumerate();
    let mut rest: Vec<_> = rest
        .filter(|(index, _)| !needed.contains(index))
        .map(|(_, package)| package)
        .collect();
    rest.sort_by_key(|package| (package.name, package.architecture));
    rest
}

fn roots() -> impl Iterator<Item = &'static str> {
    ROOTS.lines().filter(|line| !line.starts_with('#'))
}

fn is_root(name: &str, root: &str) -> bool {
    match root.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == root,
    }
}

/// Installed packages, by their names and the names they provide.
struct Machine<'a> {
    installed: &'a [Package<'a>],
    by_name: BTreeMap<String, Vec<usize>>,
}

impl<'a> Machine<'a> {
    fn new(installed: &'a [Package<'a>]) -> Self {
        let mut by_name: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, package) in installed.iter().enumerate() {
            let provided = relation::parse(&package.provides);
            let names = provided.iter().flatten().map(|provided| provided.name);
            for name in names.chain([package.name]) {
                by_name.entry(name.to_owned()).or_default().push(index);
            }
        }
        Self { installed, by_name }
    }

    fn needs_of(&self, package: &Package<'_>, recommends: bool) -> Vec<usize> {
        let recommended = if recommends { &package.recommends } else { "" };
        let groups = [&package.depends, recommended].map(relation::parse);
        let alternatives = groups.iter().flatten().flatten();
        alternatives.flat_map(|asked| self.all(asked)).collect()
    }

    /// Returns the packages that satisfy a dependency. If there are none, returns all packages of its name: dpkg may have
    /// been forced, or the satisfying package is still to be installed.
    fn all(&self, asked: &Alternative<'_>) -> Vec<usize> {
        let of_that_name = self.by_name.get(asked.name).map_or(&[][..], Vec::as_slice);
        let good: Vec<_> = of_that_name
            .iter()
            .copied()
            .filter(|index| self.installed[*index].satisfies(asked))
            .collect();
        if good.is_empty() {
            of_that_name.to_vec()
        } else {
            good
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::status;
    use super::*;

    /// `name: dependencies; recommends; provides`, with `!` in front for an essential one.
    fn machine(lines: &[&str]) -> String {
        let paragraph = |line: &&str| {
            let (name, rest) = line.split_once(':').unwrap();
            let mut rest = rest.split(';').chain(["", ""]);
            let mut next = || rest.next().unwrap_or_default().trim();
            let essential = if name.starts_with('!') { "yes" } else { "no" };
            format!(
                "Package: {}\nStatus: install ok installed\nVersion: 2\nEssential: {essential}\n\
                 Depends: {}\nRecommends: {}\nProvides: {}\n\n",
                name.trim_start_matches('!'),
                next(),
                next(),
                next()
            )
        };
        lines.iter().map(paragraph).collect()
    }

    #[test]
    fn what_nothing_declared_needs_is_found() {
        let base = machine(&[
            "!base-files: awk",
            "mawk: libc; ; awk",
            "libc:",
            "linux-image-6.1: kmod",
            "kmod:",
            "openssh-server: libssl (>= 1)",
            "libssl:",
            "nano: libncurses",
            "libncurses:",
            "curl: libcurl (>= 2) | wget; ca-certificates",
            "libcurl:",
            "wget:",
            "ca-certificates:",
            "loop-a: loop-b",
            "loop-b: loop-a",
            "old: ",
        ]);
        let coming = machine(&["nginx: libnginx, old (>= 3)", "libnginx: libncurses"]);
        let (installed, coming) = (status::installed(&base), status::installed(&coming));
        let left = ["loop-a", "loop-b", "nano"];
        for (names, coming, recommends, expected) in [
            (
                &[][..],
                &[][..],
                false,
                &[
                    "ca-certificates",
                    "curl",
                    "libcurl",
                    "libncurses",
                    "loop-a",
                    "loop-b",
                    "nano",
                    "old",
                    "wget",
                ][..],
            ),
            (
                &["curl=2"],
                &[],
                false,
                &[
                    "ca-certificates",
                    "libncurses",
                    "loop-a",
                    "loop-b",
                    "nano",
                    "old",
                ],
            ),
            (&["curl:amd64", "nginx"], &coming[..], true, &left),
            (
                &["nano", "loop-b"],
                &[],
                true,
                &["ca-certificates", "curl", "libcurl", "old", "wget"],
            ),
        ] {
            let names: Vec<_> = names.iter().map(|name: &&str| (*name).to_owned()).collect();
            let declared = Declared {
                names: &names,
                coming,
                recommends,
            };
            let found: Vec<_> = unneeded(&installed, declared)
                .into_iter()
                .map(|package| package.name)
                .collect();
            assert_eq!(found, expected, "declared: {names:?}");
        }
    }
}
