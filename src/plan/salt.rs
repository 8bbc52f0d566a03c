//! Commands that hash a password with a salt of their own choice: two builds of the same template would differ.
//!
//! Only what stands in the template is looked at. A script that does the same is found when the image is built twice.

use toml::Spanned;

use super::Finish;
use super::check::Checker;
use super::step::is_for;
use crate::template::problem::Problem;
use crate::template::schema::Step;

/// Words that come before a command without being one.
const BEFORE: [&str; 14] = [
    "sudo", "env", "exec", "command", "time", "if", "then", "else", "elif", "do", "while", "until",
    "!", "{",
];

impl Checker<'_> {
    /// Points at every such command in the steps of a machine whose disk is written anew.
    pub(super) fn no_random_salts(&mut self, steps: &[Spanned<Step>], finish: &Finish) {
        if !finish.rebuild {
            return;
        }
        for step in steps
            .iter()
            .map(Spanned::get_ref)
            .filter(|step| is_for(step, "qemu"))
        {
            let inline = step
                .shell
                .as_ref()
                .and_then(|shell| shell.get_ref().inline.as_ref());
            for line in inline.into_iter().flat_map(Spanned::get_ref) {
                if let Some(command) = random_salt(line.get_ref()) {
                    let what = format!(
                        "`{command}` chooses a random salt, so that no two builds are the same"
                    );
                    let help = "make the hash once (`openssl passwd -6`) and give that: `usermod -p '$6$...' NAME`, or \
                                `chpasswd -e`; or set `rebuild = false` under `[finish]`";
                    self.say(Problem::at(line.span(), what).help(help));
                }
            }
        }
    }
}

/// The first command of a line of shell that does so.
fn random_salt(line: &str) -> Option<&'static str> {
    commands(line).iter().find_map(|words| {
        let start = words
            .iter()
            .position(|word| !BEFORE.contains(&word.as_str()) && !is_assignment(word))?;
        let (command, arguments) = words[start..].split_first()?;
        let name = command.rsplit('/').next()?;
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        salted(name, &arguments)
    })
}

fn salted(name: &str, arguments: &[&str]) -> Option<&'static str> {
    let has = |options: &[&str]| arguments.iter().any(|argument| options.contains(argument));
    // As `-e`, or among others as `-me`.
    let letter = |letter: char| {
        let short = |argument: &&&str| argument.starts_with('-') && !argument.starts_with("--");
        arguments
            .iter()
            .filter(short)
            .any(|argument| argument.contains(letter))
    };
    match name {
        "chpasswd" if !letter('e') && !has(&["--encrypted"]) => Some("chpasswd"),
        "chgpasswd" if !letter('e') && !has(&["--encrypted"]) => Some("chgpasswd"),
        "newusers" => Some("newusers"),
        "openssl" if arguments.first() == Some(&"passwd") && !has(&["-salt", "--salt"]) => {
            Some("openssl passwd")
        }
        "mkpasswd" if !gives_salt(arguments) => Some("mkpasswd"),
        // Other options lock, unlock or tell; without any, a password is read.
        "passwd"
            if has(&["--stdin"]) || !arguments.iter().any(|argument| argument.starts_with('-')) =>
        {
            Some("passwd")
        }
        _ => None,
    }
}

/// `mkpasswd -S SALT`, or `mkpasswd PASSWORD SALT`.
fn gives_salt(arguments: &[&str]) -> bool {
    let mut operands = 0;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument.starts_with("-S") || argument.starts_with("--salt") {
            return true;
        }
        match *argument {
            "-m" | "-R" | "-P" | "--method" | "--rounds" | "--password-fd" => drop(rest.next()),
            option if option.starts_with('-') => {}
            _ => operands += 1,
        }
    }
    operands > 1
}

fn is_assignment(word: &str) -> bool {
    let name = word.split_once('=').map(|(name, _)| name);
    name.is_some_and(|name| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

/// The simple commands of a line, as words: enough of a shell to know where a command begins, and what is quoted.
fn commands(line: &str) -> Vec<Vec<String>> {
    let mut all = vec![Vec::new()];
    let mut word: Option<String> = None;
    let (mut single, mut double) = (false, false);
    let mut characters = line.chars().peekable();
    while let Some(c) = characters.next() {
        let opens = c == '`' || (c == '$' && characters.peek() == Some(&'('));
        match c {
            '\'' if !double => {
                single = !single;
                word.get_or_insert_default();
            }
            '"' if !single => {
                double = !double;
                word.get_or_insert_default();
            }
            '\\' if !single => word.get_or_insert_default().extend(characters.next()),
            // A command within double quotes is one, too; what follows it is taken for its end.
            _ if opens && !single => {
                end(&mut all, &mut word);
                double = false;
                all.push(Vec::new());
            }
            '|' | ';' | '&' | '(' | ')' | '\n' if !single && !double => {
                end(&mut all, &mut word);
                all.push(Vec::new());
            }
            '#' if word.is_none() && !single && !double => {
                while characters.next_if(|c| *c != '\n').is_some() {}
            }
            c if c.is_whitespace() && !single && !double => end(&mut all, &mut word),
            c => word.get_or_insert_default().push(c),
        }
    }
    end(&mut all, &mut word);
    all
}

fn end(all: &mut [Vec<String>], word: &mut Option<String>) {
    if let (Some(last), Some(word)) = (all.last_mut(), word.take()) {
        last.push(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_choose_a_salt_are_known() {
        for (line, expected) in [
            ("echo 'alice:secret' | chpasswd", Some("chpasswd")),
            (
                "echo alice:secret|sudo /usr/sbin/chpasswd -c SHA512",
                Some("chpasswd"),
            ),
            ("chpasswd <<< 'alice:secret'", Some("chpasswd")),
            ("echo 'alice:$6$salt$hash' | chpasswd -e", None),
            ("echo 'alice:$6$salt$hash' | chpasswd --encrypted", None),
            (
                "usermod -p \"$(openssl passwd -6 secret)\" alice",
                Some("openssl passwd"),
            ),
            (
                "useradd -p `openssl passwd -1 secret` alice",
                Some("openssl passwd"),
            ),
            (
                "usermod -p \"$(openssl passwd -6 -salt abc secret)\" alice",
                None,
            ),
            ("usermod -p '$6$salt$hash' alice", None),
            (
                "H=$(mkpasswd -m sha-512 secret); usermod -p \"$H\" alice",
                Some("mkpasswd"),
            ),
            ("mkpasswd -m sha-512 secret saltsalt", None),
            ("mkpasswd --salt=saltsalt secret", None),
            ("printf 'x\\nx\\n' | passwd alice", Some("passwd")),
            ("passwd -l root && passwd --expire alice", None),
            (
                "if true; then LC_ALL=C newusers < list; fi",
                Some("newusers"),
            ),
            ("echo 'not a chpasswd | chpasswd'", None),
            ("true # echo alice:secret | chpasswd", None),
            ("apt-get install openssl passwd", None),
            ("grep root /etc/passwd", None),
            ("", None),
        ] {
            assert_eq!(random_salt(line), expected, "{line}");
        }
    }
}
