//! `Filter.N` of the Describe calls: every filter has to match, by any of its values, which may have `*` and `?`.

use super::answer::Refusal;
use super::form::Form;
use super::xml::Node;

/// One filter.
pub struct Filter {
    pub name: String,
    pub values: Vec<String>,
}

/// The filters of a call, all of them by tags or by what is known.
pub fn by(form: &Form, known: &[&str]) -> Result<Vec<Filter>, Refusal> {
    let filters = of(form);
    let is_known = |filter: &Filter| {
        let name = filter.name.as_str();
        name.starts_with("tag:") || name == "tag-key" || known.contains(&name)
    };
    match filters.iter().find(|filter| !is_known(filter)) {
        None => Ok(filters),
        Some(filter) => {
            let message = format!("The filter '{}' is invalid", filter.name);
            Err(Refusal::new("InvalidParameterValue", message))
        }
    }
}

/// The filters of a call.
pub fn of(form: &Form) -> Vec<Filter> {
    let groups = form.groups("Filter").into_iter();
    groups
        .map(|group| Filter {
            name: group.text("Name").to_owned(),
            values: group.list("Value"),
        })
        .collect()
}

impl Filter {
    /// Whether any of what a thing has under the filter's name matches.
    pub fn takes(&self, has: &[String]) -> bool {
        has.iter()
            .any(|has| self.values.iter().any(|value| wild(value, has)))
    }
}

/// What a thing has under a filter's name, tags among it.
pub fn tagged(name: &str, tags: &super::world::Tags) -> Option<Vec<String>> {
    if let Some(key) = name.strip_prefix("tag:") {
        return Some(tags.get(key).cloned().into_iter().collect());
    }
    (name == "tag-key").then(|| tags.keys().cloned().collect())
}

/// The page that a call asks for, and the token of the next.
pub fn page(form: &Form, all: Vec<Vec<Node>>) -> (Vec<Vec<Node>>, Option<Node>) {
    let number = |name: &str| form.get(name).and_then(|value| value.parse::<usize>().ok());
    let (from, most) = (
        number("NextToken").unwrap_or(0),
        number("MaxResults").unwrap_or(1000),
    );
    let next = (all.len() > from + most).then(|| Node::text("nextToken", from + most));
    (all.into_iter().skip(from).take(most).collect(), next)
}

fn wild(pattern: &str, text: &str) -> bool {
    let mut at = pattern.chars();
    match at.next() {
        None => text.is_empty(),
        Some('*') => {
            let rest = at.as_str();
            (0..=text.len())
                .filter(|&index| text.is_char_boundary(index))
                .any(|index| wild(rest, &text[index..]))
        }
        Some(first) => text.chars().next().is_some_and(|next| {
            (first == '?' || first == next) && wild(at.as_str(), &text[next.len_utf8()..])
        }),
    }
}

#[test]
fn stars_and_question_marks_stand_for_anything() {
    for (pattern, text, matches) in [
        ("karat-*", "karat-web", true),
        ("karat-*", "kara", false),
        ("?a*t", "karat", true),
        ("", "", true),
        ("web", "webs", false),
    ] {
        assert_eq!(wild(pattern, text), matches, "{pattern} on {text}");
    }
}
