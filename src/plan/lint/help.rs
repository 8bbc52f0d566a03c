//! Advice for commands that need the network: the lines to add to the template as it is.

use super::need::{Checkout, Need};
use super::program::EXAMPLE_INDEX;
use crate::plan::{Base, Plan};
use crate::record::lock::Manager;

/// Returns the advice for needs of one topic.
pub(super) fn of(plan: &Plan, needs: &[&Need]) -> String {
    match needs.first() {
        Some(Need::Packages { manager, .. }) => packages(plan, *manager, needs),
        Some(Need::Urls(_)) => urls(plan, needs),
        Some(Need::Checkout(_)) => checkouts(needs),
        Some(Need::Other(advice)) => (*advice).to_owned(),
        Some(Need::Refresh) | None => {
            "remove it: `karat lock --update` takes newer versions, and the build installs them"
                .to_owned()
        }
    }
}

fn packages(plan: &Plan, manager: Manager, needs: &[&Need]) -> String {
    if let (Manager::Dnf, Some(Base::Bootstrap(base))) = (manager, &plan.base) {
        return format!(
            "the base is {}, which has no dnf: declare its own packages in [packages.apt]",
            base.distribution
        );
    }
    let table = match manager {
        Manager::Apt => "packages.apt",
        Manager::Dnf => "packages.dnf",
    };
    let declared = plan.packages.as_ref();
    if declared.is_some_and(|packages| packages.manager != manager) {
        return format!(
            "remove it: the template declares packages in another table than [{table}]"
        );
    }
    let names = needs.iter().filter_map(|need| match need {
        Need::Packages { names, .. } => Some(names),
        _ => None,
    });
    let names = unique(names.flatten().map(String::as_str));
    let declared: Vec<&str> = declared
        .iter()
        .flat_map(|packages| packages.names())
        .collect();
    let is_declared = |name: &&str| declared.contains(&name.split('=').next().unwrap_or(name));
    let missing: Vec<&str> = names
        .iter()
        .copied()
        .filter(|name| !is_declared(name))
        .collect();
    if names.is_empty() {
        return format!("declare the packages in [{table}], each by its full name");
    }
    if missing.is_empty() {
        return format!("remove it: the packages are declared in [{table}] already");
    }
    let items: Vec<String> = missing.iter().map(|name| format!("{name:?}")).collect();
    format!(
        "declare the packages instead{}",
        lines(plan, table, "install", &items)
    )
}

fn urls(plan: &Plan, needs: &[&Need]) -> String {
    let urls = needs.iter().filter_map(|need| match need {
        Need::Urls(urls) => Some(urls),
        _ => None,
    });
    let urls = unique(urls.flatten().map(String::as_str));
    let is_file = urls.iter().any(|url| !url.ends_with('/'));
    let items: Vec<String> = urls
        .iter()
        .map(|url| format!("{{ url = {url:?} }}"))
        .collect();
    let what = if is_file {
        "allow it, with the `sha256` of a file that stays as it is"
    } else if urls.contains(&EXAMPLE_INDEX) {
        "allow the index that it asks, in place of the example"
    } else {
        "allow it"
    };
    format!("{what}{}", lines(plan, "network", "allow", &items))
}

fn checkouts(needs: &[&Need]) -> String {
    let mut tables: Vec<String> = Vec::new();
    for need in needs {
        if let Need::Checkout(Some(Checkout {
            name, directory, ..
        })) = need
        {
            let table =
                format!("\n    [[files]]\n    source = {name:?}\n    destination = {directory:?}");
            if !tables.contains(&table) {
                tables.push(table);
            }
        }
    }
    if tables.is_empty() {
        return "update the checkout on this host, and upload it with [[files]]".to_owned();
    }
    format!(
        "check it out on this host, and upload it:{}",
        tables.concat()
    )
}

fn unique<'a>(words: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut unique = Vec::new();
    for word in words {
        if !unique.contains(&word) {
            unique.push(word);
        }
    }
    unique
}

/// Returns the lines that add items to a list: with their table if the template does not have it.
fn lines(plan: &Plan, table: &str, key: &str, items: &[String]) -> String {
    let list = match items {
        [item] => format!("{key} = [{item}]"),
        _ if key == "install" => format!("{key} = [{}]", items.join(", ")),
        _ => format!("{key} = [\n        {},\n    ]", items.join(",\n        ")),
    };
    match written(&plan.template.text, table) {
        None => format!(":\n    [{table}]\n    {list}"),
        Some(written) if written.contains_key(key) => {
            let separator = if key == "install" { ", " } else { ",\n    " };
            format!(
                "; add to `{key}` of [{table}]:\n    {},",
                items.join(separator)
            )
        }
        Some(_) => format!("; add to [{table}]:\n    {list}"),
    }
}

/// Returns a table of the template, as written.
fn written(text: &str, table: &str) -> Option<toml::Table> {
    let mut written: toml::Table = text.parse().ok()?;
    for name in table.split('.') {
        written = match written.remove(name)? {
            toml::Value::Table(table) => table,
            _ => return None,
        };
    }
    Some(written)
}
