//! Entries of boot loaders: the lines of `grub.cfg` and of boot loader entries that name what is loaded.

use std::collections::BTreeSet;

use super::{BootTrees, INITRDS};
use crate::disk::read::FileType;
use crate::scan::undeclared::Declared;
use crate::scan::{Finding, Packaged, Root, ScanError, Severity};

const CONFIGURATION: &str = "/boot/{grub,grub2,loader/entries}/*.{cfg,conf}";
/// Settings from which `update-grub` takes the command line of the kernel.
const SETTINGS: [&str; 3] = [
    "/etc/default/grub",
    "/etc/default/grub.d",
    "/usr/share/grub/default",
];
/// Size of a configuration: enough for hundreds of kernels.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// Lines of one file that are reported, and the part of a line that is shown.
const MAX_REPORTED: usize = 20;
const MAX_LINE_CHARS: usize = 300;

/// Commands that load code. Others set colours, menus and variables.
const LOADERS: [&str; 9] = [
    "chainloader",
    "configfile",
    "efi",
    "eval",
    "legacy_configfile",
    "multiboot",
    "multiboot2",
    "normal",
    "source",
];
/// Lines that `update-grub` writes for any system.
const FIXED: [&str; 2] = [
    "source ${config_directory}/custom.cfg",
    "source $prefix/custom.cfg",
];
/// Arguments that `update-grub` adds by itself, also for recovery.
const ARGUMENTS: [&str; 7] = [
    "ro",
    "single",
    "recovery",
    "nomodeset",
    "dis_ucode_ldr",
    "$vt_handoff",
    "${extra_cmdline}",
];

/// Words after which a command begins.
const KEYWORDS: [&str; 11] = [
    "!", "{", "}", "do", "elif", "else", "if", "then", "time", "until", "while",
];

/// Returns whether a path is the configuration of a boot loader.
pub(super) fn is_configuration(path: &[u8]) -> bool {
    fast_glob::glob_match(CONFIGURATION, path)
}

/// Reports the lines of a configuration that load something which neither the base nor the packages explain.
pub(super) fn check(
    root: &Root<'_>,
    known: &Known,
    path: &[u8],
    index: usize,
) -> Result<Vec<Finding>, ScanError> {
    let content = root.content(path, &root.tree().files()[index], MAX_FILE_BYTES)?;
    let place = String::from_utf8_lossy(path);
    let text = String::from_utf8_lossy(&content).replace("\\\n", "");
    let unknown = (1..).zip(text.lines()).filter_map(|(number, line)| {
        let commands = commands(line);
        let problem = commands.iter().find_map(|words| known.problem(words))?;
        let line: String = line.trim().chars().take(MAX_LINE_CHARS).collect();
        Some((number, line, problem))
    });
    let findings = unknown.take(MAX_REPORTED).map(|(number, line, problem)| {
        let check = "undeclared-boot-file";
        let title = "undeclared line in the configuration of the boot loader";
        let id = format!("{check}:{place}:{line}");
        let mut finding = Finding::new(check, id, Severity::High, title);
        finding.evidence = format!("line {number}, {problem}: {line}");
        finding.path = Some(place.clone().into_owned());
        "find what writes it, and build without it; set arguments of the kernel with a `[[files]]` entry in `/etc/default/grub.d`, and declare the configuration with `creates` in the step that runs `update-grub`"
            .clone_into(&mut finding.fix);
        finding
    });
    Ok(findings.collect())
}

/// Lines and arguments that are explained.
pub(super) struct Known {
    commands: BTreeSet<String>,
    /// Arguments of kernels, and initrds elsewhere than in `/boot`.
    arguments: BTreeSet<String>,
    /// Kernels without the directory.
    kernels: BTreeSet<String>,
}

impl Known {
    /// Collects what the base, packages and declared settings explain.
    pub(super) fn read(
        trees: &BootTrees<'_>,
        packaged: &Packaged,
        declared: &Declared,
    ) -> Result<Self, ScanError> {
        let mut known = Self {
            commands: FIXED.map(str::to_owned).into(),
            arguments: ARGUMENTS.map(str::to_owned).into(),
            kernels: BTreeSet::new(),
        };
        for (path, _) in trees.image.tree().below(b"/boot") {
            let text = String::from_utf8_lossy(path);
            let Some(version) = text.strip_prefix("/boot/vmlinuz-") else {
                continue;
            };
            // The kernel's package may have it with its modules only.
            let packaged_as = format!("/usr/lib/modules/{version}/vmlinuz");
            let is_known = packaged.owner(path).is_some()
                || packaged.owner(packaged_as.as_bytes()).is_some()
                || trees.base.get(path).is_some()
                || declared.path(&text).is_some();
            if is_known {
                known.kernels.insert(format!("/vmlinuz-{version}"));
            }
        }
        for (path, index) in trees.base.tree().below(b"/boot") {
            let file = &trees.base.tree().files()[index];
            if is_configuration(path) && file.kind == FileType::File {
                let text = trees.base.content(path, file, MAX_FILE_BYTES)?;
                let text = String::from_utf8_lossy(&text);
                for words in text.lines().flat_map(commands) {
                    known.arguments.extend(arguments(&words).map(str::to_owned));
                    known.commands.insert(words.join(" "));
                }
            }
        }
        for setting in SETTINGS {
            known.settings(trees.base, setting, |_, _| true)?;
            known.settings(trees.image, setting, |path, index| {
                packaged.identical.contains(&index)
                    || declared.path(&String::from_utf8_lossy(path)).is_some()
            })?;
        }
        Ok(known)
    }

    /// Adds the words of settings.
    fn settings(
        &mut self,
        root: &Root<'_>,
        path: &str,
        is_explained: impl Fn(&[u8], usize) -> bool,
    ) -> Result<(), ScanError> {
        let own = root
            .tree()
            .find(path.as_bytes())
            .map(|index| (path.as_bytes(), index));
        for (path, index) in own.into_iter().chain(root.tree().below(path.as_bytes())) {
            let file = &root.tree().files()[index];
            if file.kind == FileType::File && is_explained(path, index) {
                let text = root.content(path, file, MAX_FILE_BYTES)?;
                let text = String::from_utf8_lossy(&text);
                let assigned = text
                    .lines()
                    .filter(|line| !line.trim_start().starts_with('#'));
                let values = assigned.filter_map(|line| Some(line.split_once('=')?.1));
                let words = values.flat_map(|value| value.split(['"', '\'', ' ', '\t']));
                self.arguments.extend(words.map(str::to_owned));
            }
        }
        Ok(())
    }

    /// Returns what is not explained of a command.
    fn problem(&self, words: &[&str]) -> Option<String> {
        let (command, rest) = words.split_first()?;
        if self.commands.contains(&words.join(" ")) {
            return None;
        }
        let command = name(command);
        if command.starts_with("linux") {
            let kernel = rest.first().copied().unwrap_or_default();
            let in_boot = kernel.strip_prefix("/boot").unwrap_or(kernel);
            if !self.kernels.contains(in_boot) {
                return Some(format!(
                    "neither the base nor a package has the kernel {kernel}"
                ));
            }
        } else if command.starts_with("initrd") {
            let other = rest.iter().find(|path| !self.is_initrd(path))?;
            return Some(format!("{other} is not an initrd in `/boot`"));
        } else if command == "insmod" {
            let module = rest
                .first()
                .filter(|module| module.contains(['/', '$', '(']))?;
            return Some(format!("{module} is not a module of GRUB"));
        } else if LOADERS.contains(&&*command) || command.starts_with('$') {
            return Some("the base's configuration does not have it".to_owned());
        }
        let mut arguments = arguments(words);
        let other = arguments.find(|argument| !self.arguments.contains(*argument))?;
        Some(format!("nothing explains the argument {other}"))
    }

    /// Returns whether a path is that of an initrd, whose members are checked.
    fn is_initrd(&self, path: &str) -> bool {
        let place = format!("/boot{}", path.strip_prefix("/boot").unwrap_or(path));
        self.arguments.contains(path) || fast_glob::glob_match(INITRDS, place)
    }
}

/// Splits a line into its commands, and these into words.
fn commands(line: &str) -> Vec<Vec<&str>> {
    let mut commands = vec![Vec::new()];
    let words = line.split_whitespace();
    for word in words.take_while(|word| !word.starts_with('#')) {
        for (number, word) in word.split([';', '&', '|']).enumerate() {
            if number > 0 || KEYWORDS.contains(&word) {
                commands.push(Vec::new());
            }
            if let Some(words) = commands.last_mut()
                && !word.is_empty()
                && !KEYWORDS.contains(&word)
            {
                words.push(word);
            }
        }
    }
    commands
}

/// Returns the name of a command without its quotes.
fn name(command: &str) -> String {
    command.replace(['"', '\'', '\\'], "")
}

/// Returns the arguments of the kernel in a command, or its initrds.
fn arguments<'w>(words: &[&'w str]) -> impl Iterator<Item = &'w str> {
    let command = words.first().map(|command| name(command));
    let skipped = match command.as_deref() {
        Some(command) if command.starts_with("linux") => 2,
        Some("options" | "initrd") => 1,
        _ => words.len(),
    };
    words.iter().skip(skipped).copied()
}
