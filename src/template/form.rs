//! Advice for values of the wrong type: the TOML that was probably meant.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::shape::{Kind, Mismatch, all_tables, child};
use super::source::{
    bare, entries, inline_table, one_line, quote, scalar, string, strings, unquoted,
};
use crate::size::{DurationUse, parse_duration};

/// Arrays whose items have no blanks, so that a string stands for several.
const WORD_LISTS: [&str; 13] = [
    "install",
    "remove",
    "suites",
    "components",
    "regions",
    "instance_types",
    "accounts",
    "security_groups",
    "owners",
    "only",
    "except",
    "exit_codes",
    "extra_args",
];

/// Forms of tables by their path. `VALUE` stands for a value that was written in place of the table, `LIST` for all of them.
/// A form of an array of tables is that of one item. `*` is any beginning, or a name that the template chooses.
const FORMS: [(&str, &str); 27] = [
    ("image", "[image]\nname = VALUE"),
    ("packages", "[packages.apt]\ninstall = LIST"),
    ("packages.apt", "{ install = LIST }"),
    ("packages.dnf", "{ install = LIST }"),
    ("output", "[output]\nformat = VALUE"),
    ("base.file", "{ path = VALUE }"),
    ("base.url", "{ url = VALUE, sha256 = \"...\" }"),
    ("base.manifest", "{ channel = VALUE }"),
    ("base.ami", "{ id = VALUE }"),
    ("builder.host", "{ address = VALUE }"),
    ("ssh.jump", "{ address = VALUE }"),
    ("provision", "[[provision]]\nshell = { inline = LIST }"),
    ("on_error", "[[on_error]]\nshell = { inline = LIST }"),
    ("test", "[[test]]\ncommand = VALUE"),
    ("files", "[[files]]\nsource = VALUE\ndestination = \"/...\""),
    ("policy.ignore", "{ id = VALUE, reason = \"...\" }"),
    ("finish.drop", "{ path = VALUE, reason = \"...\" }"),
    ("finish.keep", "{ path = VALUE, reason = \"...\" }"),
    ("network.allow", "{ url = VALUE }"),
    ("*.shell", "{ inline = LIST }"),
    ("*.pause", "{ duration = VALUE }"),
    ("*.reboot", "{}"),
    ("*.file", "{ source = VALUE, destination = \"/...\" }"),
    ("*.download", "{ sources = LIST, destination = \"./\" }"),
    ("variables.*", "{ default = VALUE }"),
    ("network", "[network]\nopen = VALUE"),
    ("finish", "[finish]\nrebuild = VALUE"),
];

impl Mismatch<'_, '_> {
    /// Returns what to write instead.
    pub(super) fn advice(&self) -> Option<String> {
        let source = self.source();
        let value = match (Kind::of(self.schema), self.value.get_ref()) {
            (Kind::Table, DeValue::Array(items)) if !items.is_empty() && all_tables(items) => {
                return Some(format!(
                    "write `[{}]` with one pair of brackets",
                    self.name()
                ));
            }
            (Kind::Table, _) => return self.table_advice(),
            (Kind::Tables, DeValue::Table(table)) => return Some(self.tables_advice(table)),
            (Kind::Tables, _) => return self.form(),
            (Kind::List, _) => self.list()?,
            (Kind::Text, _) => return self.text_advice(),
            (Kind::Number, DeValue::Float(_)) => whole_number(&source)?,
            (Kind::Flag, DeValue::Integer(_)) if source == "1" => "true".to_owned(),
            (Kind::Flag, DeValue::Integer(_)) if source == "0" => "false".to_owned(),
            (Kind::Scalar, DeValue::Float(_) | DeValue::Datetime(_)) => quote(&source),
            _ => return None,
        };
        Some(format!("write {value}"))
    }

    fn key(&self) -> &str {
        self.path.last().map_or("", String::as_str)
    }

    fn name(&self) -> String {
        self.path.join(".")
    }

    fn source(&self) -> String {
        one_line(self.text.get(self.value.span()).unwrap_or_default())
    }

    /// Returns the sources of a scalar, or of those in an array.
    fn scalars(&self) -> Option<Vec<String>> {
        match self.value.get_ref() {
            DeValue::Table(_) => None,
            DeValue::Array(items) => {
                let sources = items.iter().map(|item| match item.get_ref() {
                    DeValue::Table(_) | DeValue::Array(_) => None,
                    _ => Some(one_line(self.text.get(item.span())?)),
                });
                let sources: Vec<String> = sources.collect::<Option<_>>()?;
                Some(sources).filter(|sources| !sources.is_empty())
            }
            _ => Some(vec![self.source()]),
        }
    }

    /// Returns advice for a table that is something else.
    fn table_advice(&self) -> Option<String> {
        let name = self.name();
        let in_list = ["provision", "on_error", "files", "test"].contains(&self.path[0].as_str());
        let plain = || format!("write `[{name}]` on a line of its own, and its keys below it");
        if let [table, secret] = self.path
            && table == "secrets"
        {
            let variable = secret.to_ascii_uppercase();
            return Some(format!(
                "write `{secret} = {{ env = \"{variable}\" }}`, and set the environment variable {variable} to the value"
            ));
        }
        self.form().or_else(|| (!in_list).then(plain))
    }

    fn form(&self) -> Option<String> {
        let (name, sources) = (self.name(), self.scalars());
        if ["environment", "tags"].contains(&self.key()) {
            return Some(format!("write {}", pairs(&sources?)?));
        }
        let form = match (name.as_str(), &sources) {
            ("base", Some(sources)) => base_form(unquoted(&sources[0])),
            ("builder", Some(sources)) => builder_form(unquoted(&sources[0])),
            ("network" | "finish", _) if !matches!(self.value.get_ref(), DeValue::Boolean(_)) => {
                return None;
            }
            ("base.bootstrap", Some(sources)) => bootstrap_form(unquoted(&sources[0])),
            ("base.manifest", Some(sources)) if !sources[0].contains('/') => "{ id = VALUE }",
            (_, Some(sources)) if self.key() == "shell" && is_script(sources) => {
                "{ script = VALUE }"
            }
            _ => FORMS.iter().find(|(path, _)| matches_path(path, &name))?.1,
        };
        let mut sources = sources.unwrap_or_default();
        let correct = match (self.key(), self.path[0].as_str()) {
            ("pause", _) => duration,
            (_, "variables" | "network" | "finish") => scalar,
            _ => string,
        };
        sources = sources.iter().map(|source| correct(source)).collect();
        let is_each = Kind::of(self.schema) == Kind::Tables && !form.contains("LIST");
        let fill = |sources: &[String]| {
            let value = sources.first().map_or("\"...\"", String::as_str);
            form.replace("VALUE", value)
                .replace("LIST", &format!("[{}]", sources.join(", ")))
        };
        let filled: Vec<String> = if is_each {
            sources.chunks(1).map(fill).collect()
        } else if sources.len() > 1 && form.contains("VALUE") {
            return None;
        } else {
            vec![fill(&sources)]
        };
        if form.starts_with('[') {
            return Some(lines(&filled.join("\n")));
        }
        let filled = filled.join(", ");
        Some(match Kind::of(self.schema) {
            Kind::Tables => format!("write [{filled}]"),
            _ => format!("write {filled}"),
        })
    }

    /// Returns advice for an array of tables that is a table.
    fn tables_advice(&self, table: &DeTable<'_>) -> String {
        let (header, items) = (format!("[[{}]]", self.name()), &self.schema["items"]);
        if self.source().starts_with('{') && self.path.len() > 1 {
            return format!("write [{}]", self.source());
        }
        let (mut tables, mut rest) = (Vec::new(), Vec::new());
        for (key, value) in table {
            let word = key.get_ref();
            let known = items["properties"].get(word.as_ref());
            let inline = inline_table(self.text, value.get_ref(), value.span());
            match (known, value.get_ref()) {
                (None, DeValue::String(_)) if word.starts_with('/') => tables.push(format!(
                    "{header}\ncontent = {inline}\ndestination = {}",
                    quote(word)
                )),
                (None, DeValue::Table(inner)) if child(items, "name").is_some() => {
                    let entries = entries(self.text, inner).join("\n");
                    tables.push(format!("{header}\nname = {}\n{entries}", quote(word)));
                }
                (Some(schema), DeValue::Array(inner))
                    if Kind::of(schema) == Kind::Table && all_tables(inner) =>
                {
                    let each = inner.iter().map(|item| {
                        let inline = inline_table(self.text, item.get_ref(), item.span());
                        format!("{header}\n{word} = {inline}")
                    });
                    tables.extend(each);
                }
                _ => rest.push(format!("{word} = {inline}")),
            }
        }
        if !rest.is_empty() || tables.is_empty() {
            rest.insert(0, header);
            tables.push(rest.join("\n"));
        }
        lines(&tables.join("\n"))
    }

    fn list(&self) -> Option<String> {
        let item_kind = Kind::of(&self.schema["items"]);
        let is_number = item_kind == Kind::Number;
        let (source, key) = (self.source(), self.key());
        let items: Vec<String> = match self.value.get_ref() {
            DeValue::String(_) => {
                let text = unquoted(&source);
                if !WORD_LISTS.contains(&key) || text.contains(['{', '\\']) {
                    return Some(format!("[{source}]"));
                }
                let words = text.split([' ', ',', '\t']).filter(|word| !word.is_empty());
                let item = |word: &str| {
                    if is_number {
                        word.to_owned()
                    } else {
                        quote(word)
                    }
                };
                words.map(item).collect()
            }
            DeValue::Table(table) if key == "install" || key == "remove" => {
                let package = |name: &str, version: &DeValue<'_>| match version.as_str() {
                    Some(version) if version.starts_with(|c: char| c.is_ascii_digit()) => {
                        quote(&format!("{name}={version}"))
                    }
                    _ => quote(name),
                };
                let packages = table.iter();
                packages
                    .map(|(name, version)| package(name.get_ref(), version.get_ref()))
                    .collect()
            }
            DeValue::Table(_) if item_kind == Kind::TextOrTable && source.starts_with('{') => {
                vec![source]
            }
            DeValue::Table(_) => return None,
            _ if is_number => vec![source],
            _ => vec![quote(&source)],
        };
        Some(format!("[{}]", items.join(", ")))
    }

    fn text_advice(&self) -> Option<String> {
        let (source, key) = (self.source(), self.key());
        let value = match self.value.get_ref() {
            DeValue::Table(_) => return None,
            DeValue::Array(_) => {
                let words = strings(&source)?;
                match (key, &words[..]) {
                    ("content", lines) => quote(&(lines.join("\n") + "\n")),
                    ("command", words) if words.iter().any(|word| word.contains(' ')) => {
                        quote(&words.join(" && "))
                    }
                    ("command", words) => quote(&words.join(" ")),
                    (_, [word]) => quote(word),
                    (_, words) => {
                        return Some(format!(
                            "write one of them, as in {}",
                            quote(words.first()?)
                        ));
                    }
                }
            }
            DeValue::Datetime(_) => quote(source.get(..10)?),
            _ if key == "mode" => quote(source.trim_start_matches("0o")),
            _ => quote(&source),
        };
        Some(format!("write {value}"))
    }
}

fn matches_path(pattern: &str, name: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(end), _) => name.ends_with(end),
        (_, Some(start)) => name.starts_with(start),
        _ => pattern == name,
    }
}

fn base_form(text: &str) -> &'static str {
    match text {
        "debian" => "[base.bootstrap]\ndistribution = VALUE",
        "ubuntu" => "[base.bootstrap]\ndistribution = VALUE\nsuite = \"noble\"",
        _ if text.contains("://") => "[base.url]\nurl = VALUE\nsha256 = \"...\"",
        _ if text.starts_with("ami-") => "[base.ami]\nid = VALUE",
        _ if text.contains('.') => "[base.file]\npath = VALUE",
        _ if text.contains('/') => "[base.manifest]\nchannel = VALUE",
        _ => "[base.bootstrap]\nsuite = VALUE",
    }
}

fn bootstrap_form(text: &str) -> &'static str {
    match text {
        "debian" => "{ distribution = VALUE }",
        "ubuntu" => "{ distribution = VALUE, suite = \"noble\" }",
        _ => "{ suite = VALUE }",
    }
}

fn builder_form(text: &str) -> &'static str {
    match text {
        "ec2" => "[builder.ec2]",
        "host" => "[builder.host]\naddress = \"...\"",
        _ => "[builder.qemu]",
    }
}

/// Returns `NAME=VALUE` words as an inline table.
fn pairs(sources: &[String]) -> Option<String> {
    let words = sources.iter().flat_map(|source| match sources.len() {
        1 => unquoted(source).split_whitespace().collect(),
        _ => vec![unquoted(source)],
    });
    let entry = |word: &str| {
        let (name, value) = word.split_once('=')?;
        Some(format!("{} = {}", bare(name), quote(value)))
    };
    let entries: Vec<String> = words.map(entry).collect::<Option<_>>()?;
    Some(format!("{{ {} }}", entries.join(", ")))
}

/// Returns the duration that the source of a value probably means.
fn duration(source: &str) -> String {
    let text = unquoted(source);
    match parse_duration(text, DurationUse::Wait) {
        Ok(_) => quote(text),
        Err(error) => quote(error.help().split('"').nth(1).unwrap_or("10s")),
    }
}

fn is_script(sources: &[String]) -> bool {
    let text = unquoted(&sources[0]);
    sources.len() == 1
        && Path::new(text).extension().is_some_and(|end| end == "sh")
        && !text.contains(' ')
}

fn whole_number(source: &str) -> Option<String> {
    let whole = source.split('.').next()?;
    whole.parse::<u32>().ok().map(|number| number.to_string())
}

/// Shows lines of a template in a sentence, or as a block.
fn lines(text: &str) -> String {
    match text.lines().collect::<Vec<_>>()[..] {
        [header] => format!("write `{header}`"),
        [header, entry] => format!("write `{header}`, and `{entry}` below it"),
        _ => format!("write\n    {}", text.replace('\n', "\n    ")),
    }
}
