//! Splits a shell script into its simple commands: without comments, redirections and here-documents, and with those inside of
//! substitutions. Text that it does not understand gives no command.

use std::iter::Peekable;
use std::str::Chars;

/// A command of a script.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Command {
    /// Line on which it begins, counted from 0.
    pub line: usize,
    pub words: Vec<String>,
}

/// Splits a script into commands. A substitution becomes `$`.
pub(super) fn commands(script: &str) -> Vec<Command> {
    let mut lexer = Lexer {
        rest: script.chars().peekable(),
        line: 0,
        open: vec![Open::new('\0')],
        here_documents: Vec::new(),
        commands: Vec::new(),
    };
    while let Some(next) = lexer.next() {
        lexer.read(next);
    }
    while !lexer.open.is_empty() {
        lexer.end();
        lexer.open.pop();
    }
    lexer.commands.sort_by_key(|command| command.line);
    lexer.commands
}

struct Lexer<'a> {
    rest: Peekable<Chars<'a>>,
    line: usize,
    /// Commands that are being read: the script's own, then those of substitutions and subshells in it.
    open: Vec<Open>,
    /// Delimiters of the here-documents that begin on the next line.
    here_documents: Vec<String>,
    commands: Vec<Command>,
}

/// A command that is being read.
struct Open {
    text: String,
    line: usize,
    quote: Option<char>,
    closer: char,
}

impl Open {
    fn new(closer: char) -> Self {
        Self {
            text: String::new(),
            line: 0,
            quote: None,
            closer,
        }
    }
}

impl Lexer<'_> {
    fn next(&mut self) -> Option<char> {
        let next = self.rest.next()?;
        self.line += usize::from(next == '\n');
        Some(next)
    }

    fn next_is(&mut self, characters: &[char]) -> bool {
        self.rest
            .peek()
            .is_some_and(|next| characters.contains(next))
    }

    fn top(&mut self) -> &mut Open {
        self.open
            .last_mut()
            .expect("the script's own is closed last")
    }

    fn push(&mut self, next: char) {
        let line = self.line;
        let top = self.top();
        if top.text.trim_start().is_empty() {
            top.line = line;
        }
        top.text.push(next);
    }

    fn read(&mut self, next: char) {
        let quote = self.top().quote;
        match (quote, next) {
            (Some('\''), _) => self.quoted(next, '\''),
            (_, '\\') => self.escape(),
            (_, '$') if self.next_is(&['(']) => self.substitution(),
            (_, '`') if self.top().closer == '`' => self.close(),
            (_, '`') => {
                self.push('$');
                self.open.push(Open::new('`'));
            }
            (Some(quote), _) => self.quoted(next, quote),
            (None, '\'' | '"') => {
                self.push(next);
                self.top().quote = Some(next);
            }
            (None, '#') if self.is_at_word() => {
                while !self.next_is(&['\n']) && self.next().is_some() {}
            }
            (None, '\n') => {
                self.end();
                self.skip_here_documents();
            }
            (None, '&') if self.next_is(&['>']) => {}
            (None, '(') => {
                self.end();
                self.open.push(Open::new(')'));
            }
            (None, ')') if self.top().closer == ')' => self.close(),
            (None, ';' | '|' | '&' | ')') => self.end(),
            (None, '<' | '>') => self.redirection(next),
            (None, _) => self.push(next),
        }
    }

    fn is_at_word(&mut self) -> bool {
        self.top()
            .text
            .chars()
            .next_back()
            .is_none_or(char::is_whitespace)
    }

    fn quoted(&mut self, next: char, quote: char) {
        self.push(next);
        if next == quote {
            self.top().quote = None;
        }
    }

    fn escape(&mut self) {
        match self.next() {
            // The command goes on in the next line.
            Some('\n') | None => {}
            Some(escaped) => {
                self.push('\\');
                self.push(escaped);
            }
        }
    }

    fn substitution(&mut self) {
        self.push('$');
        self.next();
        if !self.next_is(&['(']) {
            self.open.push(Open::new(')'));
            return;
        }
        // Arithmetic: `<<` begins no here-document in it.
        let mut depth = 1;
        while depth > 0 {
            match self.next() {
                Some('(') => depth += 1,
                Some(')') => depth -= 1,
                Some(_) => {}
                None => return,
            }
        }
    }

    /// Ends the command that is being read.
    fn end(&mut self) {
        let top = self.top();
        let text = std::mem::take(&mut top.text);
        let line = top.line;
        if let Some(words) = shlex::split(&text).filter(|words| !words.is_empty()) {
            self.commands.push(Command { line, words });
        }
    }

    /// Ends a substitution or subshell.
    fn close(&mut self) {
        self.end();
        if self.open.len() > 1 {
            self.open.pop();
        }
    }

    /// Skips a redirection with its target.
    fn redirection(&mut self, first: char) {
        let text = &mut self.top().text;
        let command = text.trim_end_matches(|last: char| last.is_ascii_digit());
        if command.is_empty() || command.ends_with(char::is_whitespace) {
            text.truncate(command.len());
        }
        if self.next_is(&['(']) {
            return;
        }
        let is_double = first == '<' && self.next_is(&['<']);
        while self.next_is(&['<', '>', '&', '|']) {
            self.next();
            // `<<<` gives a string.
            if is_double && !self.next_is(&['<']) {
                if self.next_is(&['-']) {
                    self.next();
                }
                let end = self.target();
                self.here_documents.push(end);
                return;
            }
            if is_double {
                self.next();
                break;
            }
        }
        self.target();
    }

    /// Reads the word after a redirection, without its quotes.
    fn target(&mut self) -> String {
        while self.next_is(&[' ', '\t']) {
            self.next();
        }
        let (mut word, mut quote) = (String::new(), None);
        while let Some(&next) = self.rest.peek() {
            let ends = next.is_whitespace() || ";|&()<>".contains(next);
            if quote.is_none() && ends {
                break;
            }
            self.next();
            match quote {
                None if "'\"".contains(next) => quote = Some(next),
                Some(open) if open == next => quote = None,
                _ if next == '\\' => {}
                _ => word.push(next),
            }
        }
        word
    }

    fn skip_here_documents(&mut self) {
        for end in std::mem::take(&mut self.here_documents) {
            loop {
                let mut line = String::new();
                let mut more = None;
                while let Some(next) = self.next() {
                    more = Some(next);
                    if next == '\n' {
                        break;
                    }
                    line.push(next);
                }
                if more.is_none() || line.trim() == end {
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_split_into_its_commands() {
        for (script, expected) in [
            ("a b && c | d; e &", "0 a b,0 c,0 d,0 e"),
            ("# a 'b\nc # d\ne#f", "1 c,2 e#f"),
            ("a \\\n  b \\\n  c\nd", "0 a b c,3 d"),
            (
                "cat >/x <<'END'\napt-get install b\nEND\ntrue",
                "0 cat,3 true",
            ),
            ("cat <<-A <<B\na\n\tA\nb\nB\nc", "0 cat,5 c"),
            ("a <<<\"b c\" d\ne", "0 a d,1 e"),
            ("a b > /dev/null 2>&1 c &>f >| g <h", "0 a b c"),
            ("a2>b c3 4>&- d", "0 a2 c3 d"),
            ("echo 'a; b' \"c | d\" e\\;f", "0 echo a; b c | d e;f"),
            ("echo 'a\nb'\nc", "0 echo a\nb,2 c"),
            ("x=\"$(a \"b c\" | d)\" e", "0 a b c,0 d,0 x=$ e"),
            ("a `b c` d", "0 b c,0 a $ d"),
            ("a $((1 << (2))) b\nc", "0 a $ b,1 c"),
            ("f() { a; }\n(b\nc)", "0 f,0 { a,0 },1 b,2 c"),
            ("a <(b c) d", "0 a,0 b c,0 d"),
            ("case $x in a) b ;; esac", "0 case $x in a,0 b,0 esac"),
            ("a) b", "0 a,0 b"),
            ("a 'b\nc", ""),
            ("a <<", "0 a"),
        ] {
            let found = commands(script);
            let found: Vec<String> = found
                .iter()
                .map(|command| format!("{} {}", command.line, command.words.join(" ")))
                .collect();
            assert_eq!(found.join(","), expected, "{script:?}");
        }
    }
}
