//! Uploads: one tar stream per call, checked on the remote side and renamed into place.

mod archive;
mod checks;
mod tree;

use tokio::sync::mpsc;

use self::archive::Archive;
use self::tree::ItemKind;
use super::exec::{FeedError, Input, OutputStream, joined};
use super::quote::quote_bytes;
use super::{Session, SshError, UploadContent, UploadItem};
use crate::os::hash_stream;
use crate::os::tail::Tail;
use crate::ui::Bar;

/// Remote script. It needs only `sh`, coreutils and tar.
const RECEIVE: &str = include_str!("receive.sh");
/// Chunks queued between the disk and the network.
const QUEUE_LENGTH: usize = 4;

impl Session {
    /// Uploads files as one stream. The remote side creates parent directories, checks contents by SHA-256 and renames the files
    /// into place, so that a broken transfer leaves no partial file.
    ///
    /// A file goes to its destination, or into it if that is a directory or ends with `/`. A directory's content is merged into
    /// its destination. Follows links.
    ///
    /// # Errors
    /// Names the file and the reason (missing, broken link, link loop, disk full, connection dropped).
    pub async fn upload(&self, items: &[UploadItem], bar: &Bar) -> Result<(), SshError> {
        if items.is_empty() {
            return Ok(());
        }
        let groups = group(items)?;
        let planned = items
            .iter()
            .zip(&groups)
            .map(|(item, group)| (item.clone(), *group))
            .collect();
        let archive = hash_stream::blocking(move |_| Archive::plan(planned)).await?;
        let list = list(items, &groups, &archive);
        let command = format!("set -- {}\n{RECEIVE}", list.len());
        let mut stderr = Tail::default();
        let exit = self
            .converse(
                &command,
                |input| send(input, list, archive, bar),
                async |stream, bytes: &[u8]| {
                    if stream == OutputStream::Stderr {
                        stderr.push(bytes);
                    }
                    Ok(())
                },
            )
            .await?;
        if exit.is_success() {
            return Ok(());
        }
        let (mut reason, item) = explain(&stderr.text(), items, &groups);
        if reason.is_empty() {
            reason = format!("the remote command {exit}");
        }
        Err(SshError::Upload {
            destination: match items {
                [item] => item.destination.clone(),
                _ => format!("{} and {} more", items[0].destination, items.len() - 1),
            },
            reason,
            item,
        })
    }
}

/// Assigns each item to a group. Files for the same directory share one: they are staged and moved together.
fn group(items: &[UploadItem]) -> Result<Vec<usize>, SshError> {
    let mut groups: Vec<usize> = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        check_destination(index, item)?;
        let shares = |before: &UploadItem| {
            item.destination.ends_with('/')
                && before.destination == item.destination
                && before.owner == item.owner
                && [before, item]
                    .iter()
                    .all(|item| tree::is_file(&item.source))
        };
        let group = match (index.checked_sub(1), groups.last()) {
            (Some(before), Some(&group)) if shares(&items[before]) => group,
            _ => index,
        };
        groups.push(group);
    }
    Ok(groups)
}

fn check_destination(index: usize, item: &UploadItem) -> Result<(), SshError> {
    let reason = if !item.destination.starts_with('/') || item.destination.contains('\0') {
        "expected an absolute path"
    } else if matches!(item.source, UploadContent::Bytes(_)) && item.destination.ends_with('/') {
        "it ends with `/`, and text has no file name"
    } else {
        return Ok(());
    };
    Err(SshError::Upload {
        destination: item.destination.clone(),
        reason: reason.to_owned(),
        item: Some(index),
    })
}

/// Formats the items as calls of a shell function.
fn list(items: &[UploadItem], groups: &[usize], archive: &Archive) -> Vec<u8> {
    let mut text = Vec::new();
    for ((item, group), (kind, name)) in items.iter().zip(groups).zip(archive.roots()) {
        let owner = match item.owner.as_str() {
            "root" | "0" | "0:0" => "root:root",
            owner => owner,
        };
        let kind = match kind {
            ItemKind::Content => "content",
            ItemKind::File => "file",
            ItemKind::Directory => "directory",
        };
        text.extend_from_slice(format!("item {group} ").as_bytes());
        for word in [
            owner.as_bytes(),
            kind.as_bytes(),
            name,
            item.destination.as_bytes(),
        ] {
            text.extend_from_slice(&quote_bytes(word));
            text.push(b' ');
        }
        text.push(b'\n');
    }
    text.push(b':');
    text
}

async fn send(input: Input, list: Vec<u8>, archive: Archive, bar: &Bar) -> Result<(), FeedError> {
    input.send(list).await?;
    let (sender, mut chunks) = mpsc::channel(QUEUE_LENGTH);
    let reading = tokio::task::spawn_blocking(move || archive.write(sender));
    while let Some(chunk) = chunks.recv().await {
        let count = Vec::len(&chunk) as u64;
        input.send(chunk).await?;
        bar.advance(count);
    }
    joined(reading).await.map_err(FeedError::Local)?;
    input.end().await
}

/// Replaces staging paths by destinations in messages of tar and the checks: `tar: g3/nginx.conf: Cannot write: ...`. Returns
/// the index of the item that they are about, too.
fn explain(stderr: &str, items: &[UploadItem], groups: &[usize]) -> (String, Option<usize>) {
    let (mut reason, mut item) = (Vec::new(), None);
    let first_of = |group: &str| {
        let group: usize = group.parse().ok()?;
        groups.iter().position(|&other| other == group)
    };
    for line in stderr.lines() {
        if let Some(group) = line.strip_prefix("item: ") {
            item = item.or_else(|| first_of(group));
            continue;
        }
        let about = ["tar: g", "check: g"];
        let rest = about.iter().find_map(|start| line.strip_prefix(start));
        let named = rest.and_then(|rest| {
            let (group, rest) = rest.split_once('/')?;
            Some((first_of(group)?, rest))
        });
        let Some((index, rest)) = named else {
            reason.push(line.to_owned());
            continue;
        };
        item = item.or(Some(index));
        let destination = &items[index].destination;
        let between = if destination.ends_with('/') { "" } else { ": " };
        reason.push(format!("{destination}{between}{rest}"));
    }
    (reason.join("\n"), item)
}
