//! apt.conf(5). Pure.

/// A value with its whole key in lower case, as `acquire::http::proxy`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) line: usize,
    pub(super) key: String,
    pub(super) value: String,
}

/// A piece of the file.
#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Word(String),
    Open,
    Close,
    End,
}

/// Every value of a file.
pub(super) fn settings(text: &str) -> Vec<Setting> {
    let (mut settings, mut scopes, mut words) = (Vec::new(), Vec::new(), Vec::new());
    for (line, piece) in pieces(text) {
        match piece {
            Piece::Word(word) => words.push(word),
            Piece::Open => {
                scopes.push(words.first().cloned().unwrap_or_default());
                words.clear();
            }
            Piece::Close => {
                scopes.pop();
                words.clear();
            }
            Piece::End => {
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

fn pieces(text: &str) -> Vec<(usize, Piece)> {
    let mut pieces = Vec::new();
    let mut in_comment = false;
    for (number, mut rest) in text
        .lines()
        .enumerate()
        .map(|(number, line)| (number + 1, line))
    {
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
            let (piece, length) = match first {
                '{' => (Piece::Open, 1),
                '}' => (Piece::Close, 1),
                ';' => (Piece::End, 1),
                '"' => {
                    let value = rest[1..].split('"').next().unwrap_or_default();
                    (
                        Piece::Word(value.to_owned()),
                        (value.len() + 2).min(rest.len()),
                    )
                }
                _ => {
                    let end = rest.find(|c: char| c.is_whitespace() || "{};\"".contains(c));
                    let word = &rest[..end.unwrap_or(rest.len())];
                    (Piece::Word(word.to_owned()), word.len())
                }
            };
            pieces.push((number, piece));
            rest = &rest[length..];
        }
    }
    pieces
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
            .map(|it| (it.line, it.key, it.value))
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
