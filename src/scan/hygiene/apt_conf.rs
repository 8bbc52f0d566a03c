//! apt.conf(5). Pure.

/// A value with its full key in lower case, such as `acquire::http::proxy`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) line: usize,
    pub(super) key: String,
    pub(super) value: String,
}

/// A token of the file.
#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Open,
    Close,
    End,
}

/// Returns all settings of a file.
pub(super) fn settings(text: &str) -> Vec<Setting> {
    let (mut settings, mut scopes, mut words) = (Vec::new(), Vec::new(), Vec::new());
    for (line, token) in tokens(text) {
        match token {
            Token::Word(word) => words.push(word),
            Token::Open => {
                scopes.push(words.first().cloned().unwrap_or_default());
                words.clear();
            }
            Token::Close => {
                scopes.pop();
                words.clear();
            }
            Token::End => {
                if let [name, value, ..] = &words[..] {
                    let scopes = scopes.iter().map(String::as_str);
                    let parts = scopes
                        .chain([name.as_str()])
                        .filter(|part| !part.is_empty());
                    let key = parts.collect::<Vec<_>>().join("::").to_ascii_lowercase();
                    let value = value.clone();
                    settings.push(Setting { line, key, value });
                }
                words.clear();
            }
        }
    }
    settings
}

fn tokens(text: &str) -> Vec<(usize, Token)> {
    let mut tokens = Vec::new();
    let mut in_comment = false;
    for (number, mut rest) in (1..).zip(text.lines()) {
        loop {
            if in_comment {
                let Some((_, after)) = rest.split_once("*/") else {
                    break;
                };
                (rest, in_comment) = (after, false);
            }
            rest = rest.trim_start();
            let Some(first) = rest.chars().next() else {
                break;
            };
            if first == '#' || rest.starts_with("//") {
                break;
            }
            if let Some(after) = rest.strip_prefix("/*") {
                (rest, in_comment) = (after, true);
                continue;
            }
            let (token, length) = match first {
                '{' => (Token::Open, 1),
                '}' => (Token::Close, 1),
                ';' => (Token::End, 1),
                '"' => {
                    let value = rest[1..].split('"').next().unwrap_or_default();
                    (
                        Token::Word(value.to_owned()),
                        (value.len() + 2).min(rest.len()),
                    )
                }
                _ => {
                    let end = rest.find(|c: char| c.is_whitespace() || "{};\"".contains(c));
                    let word = &rest[..end.unwrap_or(rest.len())];
                    (Token::Word(word.to_owned()), word.len())
                }
            };
            tokens.push((number, token));
            rest = &rest[length..];
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_and_comments_are_understood() {
        let text = "// A::B \"no\";\n# C \"no\";\nAcquire { http {\n  Proxy \"http://p:1/\"; // why\n }; };\n\
                    /* Acquire::x \"no\";\n */ APT::Get::Fix true;\nDPkg::Post-Invoke { \"a; b\"; };\nAcquire::http::Proxy::h \"DIRECT\";\n";
        let found: Vec<_> = settings(text)
            .into_iter()
            .map(|setting| (setting.line, setting.key, setting.value))
            .collect();
        let expected = [
            (4, "acquire::http::proxy", "http://p:1/"),
            (7, "apt::get::fix", "true"),
            (9, "acquire::http::proxy::h", "DIRECT"),
        ];
        let expected = expected.map(|(line, key, value)| (line, key.to_owned(), value.to_owned()));
        assert_eq!(found, expected);
        for broken in ["", "\"", "}}}}", "a {{{ b", "/*", "a \"b", ";;;"] {
            assert_eq!(settings(broken), [], "{broken}");
        }
    }
}
