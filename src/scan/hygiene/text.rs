//! What configuration files have in common. Pure.

/// The lines of a file that say something, trimmed, with their numbers from 1.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(number, line)| (number + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// Whether a URL in it has a password: `scheme://user:password@host`.
pub(super) fn has_url_password(text: &str) -> bool {
    text.match_indices("://").any(|(at, _)| {
        let rest = &text[at + 3..];
        let end = rest
            .find(|letter: char| {
                letter == '/' || letter == '"' || letter == '\'' || letter.is_whitespace()
            })
            .unwrap_or(rest.len());
        let user = rest[..end].rfind('@').map(|at| &rest[..at]);
        let password = user.and_then(|user| user.split_once(':'));
        password.is_some_and(|(_, password)| !password.is_empty() && !password.starts_with('$'))
    })
}

/// `key = value` or `key value`, without quotes around the value.
pub(super) fn pair(line: &str) -> Option<(&str, &str)> {
    let end = line.find(|letter: char| letter == '=' || letter.is_whitespace())?;
    let (key, rest) = line.split_at(end);
    let value = rest.trim_start();
    let value = value.strip_prefix('=').unwrap_or(value).trim();
    Some((key, value.trim_matches(['"', '\''])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_urls_are_seen() {
        for (text, expected) in [
            ("deb https://user:pass@example.org/debian x main", true),
            ("http://user:p@ss@example.org", true),
            ("http://user@example.org", false),
            ("http://user:@example.org", false),
            ("http://user:$PASSWORD@example.org", false),
            ("http://example.org:80/a@b:c", false),
            ("no URL a:b@c", false),
        ] {
            assert_eq!(has_url_password(text), expected, "{text}");
        }
    }

    #[test]
    fn pairs_are_split_with_and_without_an_equals_sign() {
        for (line, expected) in [
            ("Port 22", Some(("Port", "22"))),
            ("Port=22", Some(("Port", "22"))),
            ("Port = \"22\"", Some(("Port", "22"))),
            ("alone", None),
        ] {
            assert_eq!(pair(line), expected, "{line}");
        }
    }
}
