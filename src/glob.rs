//! Globs of paths in an image, as templates write them. Matching them is fast-glob's work.

/// Maximum number of globs that one with braces stands for: far more than the names that a template lists.
const MAX_ALTERNATIVES: usize = 1024;

/// Returns the globs without braces that a glob stands for; `None` for more than [`MAX_ALTERNATIVES`].
pub(crate) fn alternatives(glob: &str) -> Option<Vec<String>> {
    let (mut open, mut done) = (vec![glob.to_owned()], Vec::new());
    while let Some(glob) = open.pop() {
        let Some(bounds) = first_group(&glob) else {
            done.push(glob);
            continue;
        };
        let (before, after) = (&glob[..bounds[0]], &glob[bounds[bounds.len() - 1] + 1..]);
        let choices = bounds.windows(2).map(|pair| &glob[pair[0] + 1..pair[1]]);
        open.extend(choices.map(|choice| format!("{before}{choice}{after}")));
        if open.len() + done.len() > MAX_ALTERNATIVES {
            return None;
        }
    }
    Some(done)
}

/// Returns the places of the first `{`, of its commas, and of its `}`.
fn first_group(glob: &str) -> Option<Vec<usize>> {
    let mut rest = glob.char_indices();
    let (mut bounds, mut depth) = (Vec::new(), 0);
    while let Some((at, letter)) = rest.next() {
        match letter {
            '\\' => drop(rest.next()),
            '[' => skip_class(&mut rest.by_ref().map(|(_, letter)| letter)),
            '{' => {
                depth += 1;
                if depth == 1 {
                    bounds.push(at);
                }
            }
            ',' if depth == 1 => bounds.push(at),
            '}' if depth == 1 => {
                bounds.push(at);
                return Some(bounds);
            }
            '}' if depth > 1 => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Reads to the end of a class such as `[a-z]`, after its `[`. A `]` at its beginning belongs to it.
fn skip_class(rest: &mut impl Iterator<Item = char>) {
    let mut first = rest.next();
    if matches!(first, Some('^' | '!')) {
        first = rest.next();
    }
    let mut escaped = first == Some('\\');
    for letter in rest {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ']' => return,
            _ => {}
        }
    }
}

/// Returns the letters of a glob without braces; `None` stands for a wildcard.
fn letters(glob: &str) -> Vec<Option<char>> {
    let mut rest = glob.chars();
    let mut letters = Vec::new();
    while let Some(letter) = rest.next() {
        letters.push(match letter {
            '*' | '?' => None,
            '\\' => rest.next(),
            '[' => {
                skip_class(&mut rest);
                None
            }
            letter => Some(letter),
        });
    }
    letters
}

/// Returns the text of a glob without braces before its first wildcard.
pub(crate) fn literal_prefix(glob: &str) -> String {
    letters(glob)
        .into_iter()
        .map_while(|letter| letter)
        .collect()
}

/// A name in the path of a glob.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Component {
    /// Letters of the name, without its wildcards.
    pub literal: String,
    pub has_wildcard: bool,
}

/// Returns the names in the path of a glob without braces, with empty ones, `.` and `..` as they are written.
pub(crate) fn components(glob: &str) -> Vec<Component> {
    let letters = letters(glob);
    let names = letters.split(|letter| *letter == Some('/'));
    let component = |name: &[Option<char>]| Component {
        literal: name.iter().flatten().collect(),
        has_wildcard: name.contains(&None),
    };
    names.map(component).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_stand_for_all_their_alternatives() {
        for (glob, expected) in [
            ("/a", &["/a"][..]),
            ("/{a,b}", &["/a", "/b"]),
            ("/{a,b{c,}}/x", &["/a/x", "/b/x", "/bc/x"]),
            ("/{a,b}/{c,d}", &["/a/c", "/a/d", "/b/c", "/b/d"]),
            ("/\\{a,b}", &["/\\{a,b}"]),
            ("/[{]a,b}", &["/[{]a,b}"]),
            ("/{a[,}]b,c}", &["/a[,}]b", "/c"]),
            ("/{a\\,b,c}", &["/a\\,b", "/c"]),
            ("/{a", &["/{a"]),
        ] {
            let mut found = alternatives(glob).unwrap();
            found.sort();
            assert_eq!(found, expected, "{glob}");
        }
        assert_eq!(alternatives(&"{a,b}".repeat(20)), None);
    }

    #[test]
    fn the_prefix_ends_at_the_first_wildcard() {
        for (glob, prefix, names) in [
            ("/opt/app/**", "/opt/app/", "|opt|app|*"),
            (
                "/etc/default/grub*",
                "/etc/default/grub",
                "|etc|default|grub*",
            ),
            ("/opt/app", "/opt/app", "|opt|app"),
            ("//./?tc/x", "//./", "||.|tc*|x"),
            ("/[e]tc\\*/[]/]x", "/", "|tc**|x*"),
        ] {
            assert_eq!(literal_prefix(glob), prefix);
            let found = components(glob).into_iter();
            let found = found.map(|name| name.literal + if name.has_wildcard { "*" } else { "" });
            assert_eq!(found.collect::<Vec<_>>().join("|"), names, "{glob}");
        }
    }
}
