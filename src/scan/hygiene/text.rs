//! Parsing that configuration files have in common. Pure.

/// Returns the trimmed lines that are not empty or comments, with their numbers from 1.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(number, line)| (number + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// Returns whether a text contains a URL with a password: `scheme://user:password@host`.
pub(super) fn has_url_password(text: &str) -> bool {
    text.match_indices("://").any(|(at, _)| {
        let rest = &text[at + 3..];
        let end = rest.find(|letter: char| letter.is_whitespace() || "/\"'".contains(letter));
        let user = rest[..end.unwrap_or(rest.len())].rsplit_once('@');
        let password = user.and_then(|(user, _)| user.split_once(':'));
        password.is_some_and(|(_, password)| !password.is_empty() && !password.starts_with('$'))
    })
}

/// Splits `key = value` or `key value`, and removes quotes around the value.
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
