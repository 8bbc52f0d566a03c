//! One walk over all files: permissions, owners, devices and setuid programs.

use std::collections::HashSet;

use super::{HygieneScan, Severity};
use crate::disk::read::FileType;
use crate::disk::tree::File;
use crate::scan::undeclared::observed::device;
use crate::scan::undeclared::watched_paths::search_path;

const SET_USER: u16 = 0o4000;
const SET_GROUP: u16 = 0o2000;
const STICKY: u16 = 0o1000;
/// Number of files without an existing owner that are reported: there may be a whole tree of them.
const MAX_ORPHANS: usize = 20;

pub(super) fn check(scan: &mut HygieneScan<'_>) {
    let users: HashSet<u32> = scan.accounts.users.iter().map(|user| user.uid).collect();
    let groups: HashSet<u32> = scan.accounts.groups.iter().map(|(_, gid)| *gid).collect();
    let packaged = scan.root.get(b"/var/lib/dpkg/status").is_some();
    let (mut seen, mut orphans) = (HashSet::new(), 0);
    let root = scan.root;
    for (path, index) in root.tree().paths() {
        // Directories in memory on a running machine.
        let volatile = [&b"/proc/"[..], b"/sys/", b"/dev/", b"/run/"];
        if volatile.iter().any(|place| path.starts_with(place)) || !seen.insert(index) {
            continue;
        }
        let file = &root.tree().files()[index];
        writable(scan, path, file);
        privileged(scan, path, file, packaged);
        if let Some((_, major, minor)) = device(file) {
            scan.report("device-node", path, format!("device {major}:{minor}"));
        }
        let unknown_user = !users.is_empty() && !users.contains(&file.uid);
        let unknown_group = !groups.is_empty() && !groups.contains(&file.gid);
        if (unknown_user || unknown_group) && orphans < MAX_ORPHANS {
            let (kind, id) = if unknown_user {
                ("uid", file.uid)
            } else {
                ("gid", file.gid)
            };
            orphans += 1;
            scan.report("orphan-owner", path, format!("no account has {kind} {id}"));
        }
    }
}

fn writable(scan: &mut HygieneScan<'_>, path: &[u8], file: &File) {
    let everybody = file.mode & 0o002 != 0;
    let evidence = format!("mode {:04o}, uid {}, gid {}", file.mode, file.uid, file.gid);
    match file.kind {
        FileType::File if everybody => scan.report("world-writable-file", path, &evidence),
        FileType::Directory if everybody && file.mode & STICKY == 0 => {
            scan.report("world-writable-directory", path, &evidence);
        }
        _ => {}
    }
    if !matches!(file.kind, FileType::File | FileType::Directory) {
        return;
    }
    let in_path = search_path().iter().any(|place| {
        let inside = path.strip_prefix(place.as_bytes());
        inside
            .is_some_and(|rest| rest.is_empty() || (rest[0] == b'/' && !rest[1..].contains(&b'/')))
    });
    if in_path && (file.uid != 0 || everybody) {
        scan.report("path-writable", path, &evidence);
    } else if in_path && file.gid != 0 && file.mode & 0o020 != 0 {
        scan.report_as("path-writable", Severity::Low, path, &evidence);
    }
}

fn privileged(scan: &mut HygieneScan<'_>, path: &[u8], file: &File, packaged: bool) {
    if file.kind != FileType::File {
        return;
    }
    let set = file.mode & (SET_USER | SET_GROUP);
    let group_only = set == SET_GROUP;
    // Without the group's execute bit, setgid stands for mandatory locking.
    if set == 0 || (group_only && file.mode & 0o010 == 0) {
        return;
    }
    let evidence = format!("mode {:04o}, uid {}, gid {}", file.mode, file.uid, file.gid);
    if file.mode & 0o022 != 0 {
        scan.report("setuid-writable", path, &evidence);
    }
    if packaged && scan.owners.package_of(path).is_none() {
        scan.report("setuid-unpackaged", path, &evidence);
    }
}
