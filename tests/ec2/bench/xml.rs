//! Just enough XML for EC2's answers: a tree that is read, changed and written. Not for documents of strangers.

use std::fmt::Write as _;

/// An element. One with children has no text of its own.
#[derive(Clone, Default, Debug)]
pub struct Node {
    name: String,
    attributes: String,
    text: String,
    children: Vec<Node>,
}

impl Node {
    /// An element with children.
    pub fn new(name: &str, children: Vec<Node>) -> Self {
        Self {
            name: name.to_owned(),
            children,
            ..Self::default()
        }
    }

    /// An element with text.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "callers have numbers and texts of all kinds"
    )]
    pub fn text(name: &str, text: impl ToString) -> Self {
        Self {
            name: name.to_owned(),
            text: text.to_string(),
            ..Self::default()
        }
    }

    /// A set, as EC2 writes them: every member is called `item`.
    pub fn set(name: &str, items: impl IntoIterator<Item = Vec<Node>>) -> Self {
        let items = items.into_iter().map(|item| Self::new("item", item));
        Self::new(name, items.collect())
    }

    pub fn with_attributes(mut self, attributes: &str) -> Self {
        attributes.clone_into(&mut self.attributes);
        self
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn children(&self) -> &[Node] {
        &self.children
    }

    pub fn children_mut(&mut self) -> &mut Vec<Node> {
        &mut self.children
    }

    pub fn child(&self, name: &str) -> Option<&Node> {
        self.children.iter().find(|child| child.name == name)
    }

    pub fn child_mut(&mut self, name: &str) -> Option<&mut Node> {
        self.children.iter_mut().find(|child| child.name == name)
    }

    /// The text at a path such as `ebs/volumeId`; empty when there is none.
    pub fn value(&self, path: &str) -> &str {
        let mut node = self;
        for name in path.split('/') {
            match node.child(name) {
                Some(child) => node = child,
                None => return "",
            }
        }
        &node.text
    }

    /// The members of a set; none when it is not there.
    pub fn items(&self, name: &str) -> &[Node] {
        self.child(name).map_or(&[], Node::children)
    }

    /// Puts a child in the place of those of its name.
    pub fn put(&mut self, node: Node) {
        match self.child_mut(&node.name) {
            Some(old) => *old = node,
            None => self.children.push(node),
        }
    }

    /// Every element of this name below this one.
    pub fn each(&mut self, name: &str, change: &mut dyn FnMut(&mut Node)) {
        for child in &mut self.children {
            child.each(name, change);
            if child.name == name {
                change(child);
            }
        }
    }

    pub fn print(&self) -> String {
        let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        let Self {
            name, attributes, ..
        } = self;
        let _ = write!(out, "<{name}{attributes}>");
        out.push_str(&escape(&self.text));
        for child in &self.children {
            child.write(out);
        }
        let _ = write!(out, "</{name}>");
    }

    /// Reads a document; `None` where it is not one of those that moto writes.
    pub fn parse(text: &str) -> Option<Self> {
        let mut open = vec![Self::default()];
        let mut rest = text;
        while let Some(start) = rest.find('<') {
            let node = open.last_mut()?;
            if node.children.is_empty() {
                node.text = unescape(&rest[..start]);
            }
            let end = start + rest[start..].find('>')?;
            let tag = &rest[start + 1..end];
            rest = &rest[end + 1..];
            if tag.starts_with('?') {
            } else if tag.starts_with('/') {
                close(&mut open)?;
            } else {
                let alone = tag.ends_with('/');
                let tag = tag.trim_end_matches('/');
                let at = tag.find(' ').unwrap_or(tag.len());
                open.push(Self::new(&tag[..at], Vec::new()).with_attributes(&tag[at..]));
                if alone {
                    close(&mut open)?;
                }
            }
        }
        open.pop()?.children.pop()
    }
}

fn close(open: &mut Vec<Node>) -> Option<()> {
    let node = open.pop()?;
    let parent = open.last_mut()?;
    // Only layout is beside children.
    parent.text.clear();
    parent.children.push(node);
    Some(())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn unescape(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&apos;", "'")
        .replace("&#39;", "'")
        .replace("&amp;", "&")
}
