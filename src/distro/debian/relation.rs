//! Package relations: `Depends`, `Recommends`, `Provides`.

use std::cmp::Ordering;

use super::version::Version;

/// A package that satisfies a relation, as in `libc6:any (>= 2.36)`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Alternative<'a> {
    /// Real or virtual name.
    pub name: &'a str,
    /// Accepted versions; all of them for `None`.
    pub constraint: Option<VersionConstraint<'a>>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VersionConstraint<'a> {
    relation: Relation,
    version: Version<'a>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Relation {
    Earlier,
    EarlierOrSame,
    Same,
    LaterOrSame,
    Later,
}

impl VersionConstraint<'_> {
    pub fn accepts(&self, version: &Version<'_>) -> bool {
        let order = version.cmp(&self.version);
        match self.relation {
            Relation::Earlier => order == Ordering::Less,
            Relation::EarlierOrSame => order != Ordering::Greater,
            Relation::Same => order == Ordering::Equal,
            Relation::LaterOrSame => order != Ordering::Less,
            Relation::Later => order == Ordering::Greater,
        }
    }

    /// Returns the version of an `=` constraint, as used in `Provides`.
    pub fn exact(&self) -> Option<Version<'_>> {
        (self.relation == Relation::Same).then_some(self.version)
    }
}

/// Parses a relation field: every group of the outer list must be satisfied, by any of its alternatives.
///
/// Invalid alternatives are left out: a package's text must not abort anything, and a missing dependency is safer than
/// a wrong one.
pub fn parse(field: &str) -> Vec<Vec<Alternative<'_>>> {
    let groups = field
        .split(',')
        .map(|group| group.split('|').filter_map(alternative).collect());
    groups.filter(|group: &Vec<_>| !group.is_empty()).collect()
}

fn alternative(text: &str) -> Option<Alternative<'_>> {
    let text = text.trim_ascii();
    let end = text
        .find(|c: char| c.is_ascii_whitespace() || matches!(c, '(' | '[' | '<'))
        .unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    // `:any` and `:arch` restrict the architecture, and nearly every image has one architecture per name.
    let name = name.split(':').next().filter(|name| !name.is_empty())?;
    let text = rest.trim_ascii_start().strip_prefix('(');
    let constraint = match text {
        Some(text) => Some(parse_constraint(text.split(')').next()?)?),
        None => None,
    };
    Some(Alternative { name, constraint })
}

fn parse_constraint(text: &str) -> Option<VersionConstraint<'_>> {
    let text = text.trim_ascii();
    let end = text
        .find(|c: char| !matches!(c, '<' | '>' | '='))
        .unwrap_or(text.len());
    let (relation, version) = text.split_at(end);
    let relation = match relation {
        "<<" => Relation::Earlier,
        // A single sign includes equality: dpkg's original syntax, still accepted.
        "<=" | "<" => Relation::EarlierOrSame,
        "=" => Relation::Same,
        ">=" | ">" => Relation::LaterOrSame,
        ">>" => Relation::Later,
        _ => return None,
    };
    let version = Version::parse(version).ok()?;
    Some(VersionConstraint { relation, version })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a|b c` for the names of alternatives and groups.
    fn names(field: &str) -> String {
        let groups = parse(field).into_iter().map(|group| {
            let names: Vec<_> = group.iter().map(|alternative| alternative.name).collect();
            names.join("|")
        });
        groups.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn relations_are_read() {
        for (field, expected) in [
            ("", ""),
            ("libc6", "libc6"),
            ("libc6 (>= 2.36), adduser", "libc6 adduser"),
            ("python3:any, perl:amd64(>=5)", "python3 perl"),
            (
                "default-mta | mail-transport-agent",
                "default-mta|mail-transport-agent",
            ),
            ("a [amd64 !i386] <!nocheck>, b\t(= 1)\n", "a b"),
            ("a,, | ,b (", "a"),
            ("a (~ 1), b (>= 1 2), c (>= )", ""),
        ] {
            assert_eq!(names(field), expected, "reading {field:?}");
        }
    }

    #[test]
    fn versions_are_compared_as_asked() {
        // Acceptance of 1.0, 2.0 and 3.0.
        for (relation, expected) in [
            ("<< 2.0", [true, false, false]),
            ("<= 2.0", [true, true, false]),
            ("< 2.0", [true, true, false]),
            ("= 2.0", [false, true, false]),
            (">= 2.0", [false, true, true]),
            ("> 2.0", [false, true, true]),
            (">>2.0", [false, false, true]),
        ] {
            let field = format!("a ({relation})");
            let groups = parse(&field);
            let constraint = groups[0][0].constraint.as_ref().unwrap();
            let accepted = ["1.0", "2.0", "3.0"]
                .map(|text| constraint.accepts(&Version::parse(text).unwrap()));
            assert_eq!(accepted, expected, "{relation}");
            assert_eq!(constraint.exact().is_some(), relation == "= 2.0");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(field in "[a-z(),|:<>=\\[\\] \u{e9}]{0,40}") {
            for alternative in parse(&field).iter().flatten() {
                assert!(!alternative.name.is_empty());
            }
        }
    }
}
