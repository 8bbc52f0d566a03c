//! Line at which a script of `/bin/sh` failed, found without a trace that the script could see.
//!
//! A shell that ends because of `-e` does not tell where. In a script of simple commands each line gets a [`MARK`] in front, which
//! stores its number beside the script. A script with anything else (blocks, here-documents, open quotes, `set`, `trap`, …) is
//! left as it is: a mark there could change what it does. Then only the shell's own messages, such as `not found`, tell the line.

use super::remote::Ended;

/// Words that open or close blocks, anywhere in a line.
const BLOCK_WORDS: [&str; 16] = [
    "if", "then", "else", "elif", "fi", "for", "while", "until", "do", "done", "case", "esac",
    "select", "function", "{", "}",
];
/// Commands that let the script see the marks, or change what they do.
const SPECIAL_COMMANDS: [&str; 8] = [
    "set", "trap", "alias", "unalias", ".", "source", "eval", "command",
];
/// Parameters that the marks change.
const SPECIAL_PARAMETERS: [&str; 6] = ["$?", "$_", "$0", "${?", "${_", "${0"];
/// Exit codes of a shell that cannot execute a command, or stops at an error of its own.
const SHELL_ERRORS: [u32; 4] = [1, 2, 126, 127];

/// Returns the script with a mark in front of each command, or as it is.
pub(super) fn marked(script: &str) -> String {
    if script.lines().count() < 2 || !script.lines().all(is_simple) {
        return script.to_owned();
    }
    let mark = |(index, line): (usize, &str)| {
        if is_empty(line) {
            return format!("{line}\n");
        }
        // `command` keeps a failing redirection from ending the shell.
        format!(
            "command echo {} 2>/dev/null >|\"$0.line\" || :; {line}\n",
            index + 1
        )
    };
    script.lines().enumerate().map(mark).collect()
}

fn is_empty(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with('#')
}

/// Returns true for a line that is one or more whole commands. A wrong `false` only costs the number of the failed line.
fn is_simple(line: &str) -> bool {
    if is_empty(line) {
        return true;
    }
    let Some(unquoted) = without_quotes(line) else {
        return false;
    };
    let code = unquoted.trim_end();
    let is_continued = code.ends_with(['|', '\\']) || code.ends_with("&&");
    let is_special = |command: &str| {
        let mut words = command.split_whitespace();
        let mut after_assignments = words.clone().skip_while(|word| word.contains('='));
        words.any(|word| BLOCK_WORDS.contains(&word))
            || after_assignments
                .next()
                .is_some_and(|word| SPECIAL_COMMANDS.contains(&word))
    };
    !is_continued
        && !code.contains("<<")
        && !code.contains(['`', '(', ')'])
        && !SPECIAL_PARAMETERS.iter().any(|name| line.contains(name))
        && !code.split([';', '|', '&', '<', '>']).any(is_special)
}

/// Removes quoted texts, escaped characters, plain command substitutions and the comment. Returns `None` if a quote is open at
/// the end.
fn without_quotes(line: &str) -> Option<String> {
    let mut rest = String::new();
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' => {
                chars.by_ref().find(|c| *c == '\'')?;
                rest.push('q');
            }
            '"' => loop {
                match chars.next()? {
                    '"' => break rest.push('q'),
                    '\\' => drop(chars.next()?),
                    // A substitution has quotes of its own.
                    '`' => return None,
                    '$' if chars.as_str().starts_with('(') => return None,
                    _ => {}
                }
            },
            '\\' => {
                chars.next()?;
                rest.push('q');
            }
            '$' if chars.as_str().starts_with('(') => {
                let inner = chars.as_str().get(1..)?;
                let end = inner.find(')')?;
                if inner[..end].contains(['\'', '"', '\\', '(', '#', '`']) {
                    return None;
                }
                chars = inner[end + 1..].chars();
                rest.push('q');
            }
            '#' if rest.ends_with(char::is_whitespace) => break,
            c => rest.push(c),
        }
    }
    Some(rest)
}

/// Returns the number of the line at which a script failed; `None` if it is not known for sure.
pub(super) fn number(script: &str, ended: &Ended) -> Option<usize> {
    let mut commands = script
        .lines()
        .enumerate()
        .filter(|(_, line)| !is_empty(line));
    let only = match (commands.next(), commands.next()) {
        (Some((index, _)), None) => Some(index + 1),
        _ => None,
    };
    only.or(ended.line).or_else(|| {
        let last = ended.output.as_ref()?.0.last()?;
        let is_shell_error = ended.code.is_some_and(|code| SHELL_ERRORS.contains(&code));
        is_shell_error.then(|| said_line(last)).flatten()
    })
}

/// Reads the line number in a message of a shell about the script: `/run/karat-0123456789abcdef/script: 3: x: not found`.
fn said_line(message: &str) -> Option<usize> {
    let (path, rest) = message.split_once(": ")?;
    if !path.contains("/karat-") || !path.ends_with("/script") {
        return None;
    }
    let rest = rest.strip_prefix("line ").unwrap_or(rest);
    rest.split_once(':')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;
    use crate::ui::report::Tail;

    #[test]
    fn only_simple_commands_are_marked() {
        for (line, simple) in [
            ("apt-get update", true),
            (
                "echo 'a; if' \"it's $HOME\" >/etc/motd && echo b; true",
                true,
            ),
            ("  # a comment with ' and \"", true),
            ("rm x || true # don't", true),
            ("date=$(cat /etc/hostname)", true),
            ("sleep 1 &", true),
            ("find . -name \\*.pyc -delete", true),
            ("echo ${X:-\"a b\"}", true),
            ("echo a \\", false),
            ("echo a |", false),
            ("true &&", false),
            ("if true; then", false),
            ("cat <<EOF", false),
            ("echo 'open", false),
            ("echo \"open", false),
            ("echo \"$(echo ')\"", false),
            ("f() { true; }", false),
            ("(exit 3)", false),
            ("echo $?", false),
            ("echo `date`", false),
            ("cp -r . /srv/set", true),
            ("A=b . ./file", false),
            ("true && . ./file", false),
            ("set -x", false),
            ("echo a;set -x", false),
            ("trap 'x' EXIT", false),
            ("cat \"$0\"", false),
            ("echo \\", false),
            ("x=$(echo \"a\")", false),
        ] {
            assert_eq!(is_simple(line), simple, "{line}");
        }
    }

    /// Runs a script as a step does. Returns exit code and output.
    fn run(scratch: &std::path::Path, shell: &str, script: &str) -> (Option<i32>, String) {
        let path = scratch.join("karat-0/script");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _ = fs::remove_file(path.with_extension("line"));
        fs::write(&path, script).unwrap();
        let mut command = Command::new(shell);
        let output = command.arg("-eu").arg(&path).current_dir(scratch).output();
        let output = output.unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    }

    #[test]
    fn a_marked_script_does_the_same_and_tells_its_line() {
        let scratch = tempfile::tempdir().unwrap();
        for (script, line) in [
            ("echo a\n\n# b\nfalse\necho c\n", Some(4)),
            ("cd /\necho $PWD; exit 7\n", Some(2)),
            ("x=1\necho $x $nothing\n", Some(2)),
            ("echo a\nno-such-command\n", Some(2)),
            (
                "umask 777\ncat /nonexistent && echo b\necho c; false",
                Some(3),
            ),
            (
                "echo a >x; cat x\nfalse || true\ntest -e y && echo b\n",
                Some(3),
            ),
            ("if true; then\n  echo a\nfi\nno-such-command\n", Some(4)),
            ("if true; then\n  echo a\nfi\nfalse\n", None),
            ("false\n", Some(1)),
        ] {
            for shell in ["sh", "bash"] {
                let plain = run(scratch.path(), shell, script);
                let marked = run(scratch.path(), shell, &marked(script));
                assert_eq!(plain, marked, "{shell}: {script}");
                let stored = fs::read_to_string(scratch.path().join("karat-0/script.line"));
                let ended = Ended {
                    code: marked.0.and_then(|code| u32::try_from(code).ok()),
                    line: stored.ok().and_then(|line| line.trim().parse().ok()),
                    output: Some(Tail(marked.1.lines().map(str::to_owned).collect())),
                };
                if ended.code != Some(0) {
                    assert_eq!(number(script, &ended), line, "{shell}: {script}");
                }
            }
        }
    }
}
