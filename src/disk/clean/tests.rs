//! Cleaning planted trees.

use std::collections::BTreeMap;

use super::*;
use crate::disk::read::{DataRun, DirectoryEntry, FileFlags, Inode, Metadata, Xattr};

const EPOCH: i64 = 1_700_000_000;

/// A file system in memory: paths with their kinds and bytes.
#[derive(Default)]
struct Fake {
    nodes: Vec<(String, FileType, Vec<u8>, i64)>,
}

impl Fake {
    fn with(paths: &[&str]) -> Self {
        let mut fake = Self::default();
        fake.put("/", FileType::Directory, b"", EPOCH - 1);
        for path in paths {
            fake.file(path, "content");
        }
        fake
    }

    fn file(&mut self, path: &str, text: &str) {
        self.put(path, FileType::File, text.as_bytes(), EPOCH + 9);
    }

    fn put(&mut self, path: &str, kind: FileType, bytes: &[u8], mtime: i64) {
        for (at, _) in path.match_indices('/').skip(1) {
            if !self.nodes.iter().any(|node| node.0 == path[..at]) {
                self.nodes.push((
                    path[..at].to_owned(),
                    FileType::Directory,
                    Vec::new(),
                    EPOCH - 1,
                ));
            }
        }
        self.nodes
            .push((path.to_owned(), kind, bytes.to_vec(), mtime));
    }

    fn node(&self, inode: Inode) -> &(String, FileType, Vec<u8>, i64) {
        &self.nodes[usize::try_from(inode.0).unwrap()]
    }

    fn clean(&self, own: &CustomRules) -> Result<(Tree, CleanReport), CleanError> {
        let mut tree = Tree::read(self).unwrap();
        let owners = Owners::read(&tree, self)?;
        let cleaned = clean(&mut tree, self, &owners, EPOCH, own)?;
        Ok((tree, cleaned))
    }
}

impl FileSystem for Fake {
    fn root(&self) -> Inode {
        Inode(0)
    }

    fn stat(&self, inode: Inode) -> Result<Metadata, ReadError> {
        let (_, kind, bytes, mtime) = self.node(inode);
        let time = Time {
            seconds: *mtime,
            nanoseconds: 7,
        };
        Ok(Metadata {
            kind: *kind,
            mode: 0o640,
            uid: 0,
            gid: 4,
            size: bytes.len() as u64,
            links: 1,
            atime: time,
            mtime: time,
            ctime: time,
            crtime: None,
            rdev: None,
            flags: FileFlags::default(),
            project: 0,
        })
    }

    fn read_dir(&self, inode: Inode) -> Result<Vec<DirectoryEntry>, ReadError> {
        let directory = self.node(inode).0.trim_end_matches('/');
        let inside = self.nodes.iter().enumerate().filter_map(|(index, node)| {
            let name = node.0.strip_prefix(directory)?.strip_prefix('/')?;
            let entry = DirectoryEntry {
                name: name.as_bytes().into(),
                inode: Inode(index as u64),
                kind: Some(node.1),
            };
            (!name.is_empty() && !name.contains('/')).then_some(entry)
        });
        let mut entries: Vec<_> = inside.collect();
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(entries)
    }

    fn read_link(&self, inode: Inode) -> Result<Vec<u8>, ReadError> {
        Ok(self.node(inode).2.clone())
    }

    fn xattrs(&self, _inode: Inode) -> Result<Vec<Xattr>, ReadError> {
        Ok(Vec::new())
    }

    fn runs(&self, inode: Inode) -> Result<Vec<DataRun>, ReadError> {
        let length = self.node(inode).2.len() as u64;
        Ok((length > 0)
            .then_some(DataRun { offset: 0, length })
            .into_iter()
            .collect())
    }

    fn read_at(&self, inode: Inode, offset: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let bytes = &self.node(inode).2[usize::try_from(offset).unwrap()..];
        let length = bytes.len().min(buffer.len());
        buffer[..length].copy_from_slice(&bytes[..length]);
        Ok(length)
    }
}

/// Returns the content of a path after the clean-up, or `None` if it was removed.
fn left(tree: &Tree, files: &Fake, path: &str) -> Option<String> {
    let index = tree.find(path.as_bytes())?;
    let bytes = content(tree, files, path.as_bytes(), index).unwrap();
    Some(String::from_utf8(bytes).unwrap())
}

#[test]
fn what_a_machine_writes_about_itself_goes_and_the_rest_stays() {
    let gone = [
        "/var/lib/dbus/machine-id",
        "/etc/ssh/ssh_host_ed25519_key",
        "/etc/ssh/ssh_host_ed25519_key.pub",
        "/var/lib/systemd/random-seed",
        "/var/lib/systemd/credential.secret",
        "/var/lib/cloud/instances/i-1/user-data.txt",
        "/etc/sudoers.d/90-cloud-init-users",
        "/var/lib/dhcp/dhclient.eth0.leases",
        "/var/log/journal/abc/system.journal",
        "/var/log/syslog.1",
        "/var/log/nginx/access.log.2.gz",
        "/var/lib/apt/lists/deb.example.org_dists_x_InRelease",
        "/var/cache/apt/pkgcache.bin",
        "/var/cache/apt/archives/x_1_amd64.deb",
        "/var/cache/ldconfig/aux-cache",
        "/var/cache/man/index.db",
        "/etc/shadow-",
        "/var/lib/dpkg/status-old",
        "/var/backups/dpkg.status.0",
        "/tmp/x",
        "/tmp/.hidden",
        "/var/tmp/deep/y",
        "/run/nginx.pid",
        "/var/lib/app/daemon.pid",
        "/root/.bash_history",
        "/etc/ssl/certs/ssl-cert-snakeoil.pem",
        "/etc/ssl/private/ssl-cert-snakeoil.key",
    ];
    let empty = [
        "/etc/machine-id",
        "/var/log/dpkg.log",
        "/var/log/nginx/access.log",
        "/var/log/wtmp",
        "/var/log/lastlog",
    ];
    let kept = [
        "/etc/passwd",
        "/etc/ssh/sshd_config",
        "/srv/app.pid.txt",
        "/var/lib/dpkg/status",
        "/root/.bashrc",
        "/opt/run/x",
    ];
    let all = [&gone[..], &empty, &kept].concat();
    let files = Fake::with(&all);
    let (tree, cleaned) = files.clean(&CustomRules::default()).unwrap();
    for (paths, expected) in [
        (&gone[..], None),
        (&empty, Some("")),
        (&kept, Some("content")),
    ] {
        for path in paths {
            assert_eq!(left(&tree, &files, path).as_deref(), expected, "{path}");
        }
    }
    // Directories stay where programs expect them, and are gone where the build made them.
    for (path, there) in [
        ("/var/log/nginx", true),
        ("/tmp", true),
        ("/var/lib/cloud", true),
        ("/var/lib/cloud/instances", false),
        ("/var/tmp/deep", false),
    ] {
        assert_eq!(tree.find(path.as_bytes()).is_some(), there, "{path}");
    }
    assert_eq!(cleaned.rules["ssh-host-keys"], 2);
    assert_eq!(cleaned.rules["logs"], 4);
    assert!(
        !cleaned.rules.contains_key("dnf"),
        "a rule that did nothing is not told"
    );

    let again = CustomRules::default();
    let mut tree = tree;
    assert_eq!(
        clean(&mut tree, &files, &Owners::default(), EPOCH, &again).unwrap(),
        CleanReport::default(),
        "a clean tree stays as it is"
    );
}

#[test]
fn every_rule_has_its_own_name_and_something_to_do() {
    let names: BTreeMap<_, _> = RULES.iter().map(|rule| (&rule.id, rule)).collect();
    assert_eq!(names.len(), RULES.len());
    for rule in RULES.iter() {
        assert!(
            !rule.paths.is_empty() && rule.paths.iter().all(|path| path.starts_with('/')),
            "{}",
            rule.id
        );
    }
}

#[test]
fn what_a_package_has_is_never_taken_away() {
    let mut files = Fake::with(&[]);
    files.file(
        "/var/lib/dpkg/info/app.list",
        "/.\n/var\n/var/log\n/var/log/app\n/var/log/app/seed.log\n/var/cache/man/app\n/lib/x\n",
    );
    files.put("/lib", FileType::Link, b"usr/lib", EPOCH);
    files.put("/var/log/app", FileType::Directory, b"", EPOCH);
    files.put("/var/cache/man/app", FileType::Directory, b"", EPOCH);
    files.file("/usr/lib/x", "content");
    let (tree, _) = files.clean(&CustomRules::default()).unwrap();
    assert!(
        tree.find(b"/var/cache/man/app").is_some(),
        "a directory of a package stays"
    );
    let drop = CustomRules {
        drop: vec!["/usr/lib/x".into()],
        keep: vec![],
    };
    let error = files.clean(&drop).unwrap_err();
    assert!(
        matches!(&error, CleanError::Owned { rule, package, .. } if rule == "finish.drop" && package == "app"),
        "{error}"
    );

    files.file("/var/log/app/seed.log", "content");
    let error = files.clean(&CustomRules::default()).unwrap_err();
    assert!(
        error.to_string().contains("/var/log/app/seed.log")
            && error.to_string().contains("package app"),
        "{error}"
    );
    let keep = CustomRules {
        drop: vec![],
        keep: vec!["/var/log/app".into()],
    };
    let (tree, _) = files.clean(&keep).unwrap();
    assert_eq!(
        left(&tree, &files, "/var/log/app/seed.log").as_deref(),
        Some("content")
    );
}

#[test]
fn the_author_of_a_template_has_the_last_word() {
    let files = Fake::with(&["/srv/cache/a/b", "/srv/data", "/tmp/keep/x", "/tmp/other"]);
    let own = CustomRules {
        drop: vec!["/srv/cache/*".into()],
        keep: vec!["/tmp/keep".into()],
    };
    let (tree, cleaned) = files.clean(&own).unwrap();
    for (path, there) in [
        ("/srv/cache", true),
        ("/srv/cache/a", false),
        ("/srv/data", true),
        ("/tmp/keep/x", true),
        ("/tmp/other", false),
    ] {
        assert_eq!(tree.find(path.as_bytes()).is_some(), there, "{path}");
    }
    assert_eq!(cleaned.rules["finish.drop"], 2);
}

#[test]
fn times_are_clamped_and_compiled_python_follows() {
    let pyc = |time: i64, flags: u32| {
        let mut bytes = b"mag\n".to_vec();
        bytes.extend(flags.to_le_bytes());
        bytes.extend(u32::try_from(time).unwrap().to_le_bytes());
        bytes.extend(b"sizecode");
        bytes
    };
    let (late, early) = (EPOCH + 9, EPOCH - 9);
    let mut files = Fake::with(&["/opt/late.py"]);
    files.put("/opt/early.py", FileType::File, b"", early);
    for (name, bytes) in [
        ("late", pyc(late, 0)),
        ("early", pyc(early, 0)),
        ("stale", pyc(late, 0)),
        ("late.opt-1", pyc(late, 1)),
    ] {
        let name = name.replacen("late.opt", "late.cpython-311.opt", 1);
        files.put(
            &format!("/opt/__pycache__/{name}.cpython-311.pyc"),
            FileType::File,
            &bytes,
            late,
        );
    }
    let (tree, cleaned) = files.clean(&CustomRules::default()).unwrap();
    let bytes = |path: &str| {
        content(
            &tree,
            &files,
            path.as_bytes(),
            tree.find(path.as_bytes()).unwrap(),
        )
        .unwrap()
    };
    assert_eq!(
        bytes("/opt/__pycache__/late.cpython-311.pyc"),
        pyc(EPOCH, 0)
    );
    assert_eq!(
        bytes("/opt/__pycache__/early.cpython-311.pyc"),
        pyc(early, 0)
    );
    assert_eq!(
        bytes("/opt/__pycache__/stale.cpython-311.pyc"),
        pyc(late, 0),
        "has no source"
    );
    let mtime = |path: &str| tree.files()[tree.find(path.as_bytes()).unwrap()].mtime;
    assert_eq!(
        mtime("/opt/late.py"),
        Time {
            seconds: EPOCH,
            nanoseconds: 0
        }
    );
    assert_eq!(
        mtime("/opt/early.py"),
        Time {
            seconds: early,
            nanoseconds: 7
        }
    );
    assert_eq!(cleaned.clamped, 5);
}

#[test]
fn sockets_links_and_stamps_are_seen_to() {
    let mut files = Fake::with(&[]);
    files.put("/var/lib/app/control", FileType::Socket, b"", EPOCH);
    files.put(
        "/etc/ssl/certs/4a6481c9.0",
        FileType::Link,
        b"ssl-cert-snakeoil.pem",
        EPOCH,
    );
    files.put("/etc/ssl/certs/real.0", FileType::Link, b"real.pem", EPOCH);
    files.put(
        "/var/lib/dbus/machine-id",
        FileType::Link,
        b"/etc/machine-id",
        EPOCH,
    );
    files.put("/usr", FileType::Directory, b"", EPOCH + 5);
    files.file("/etc/.updated", "TIMESTAMP_NSEC=1\n");
    files.file(
        "/etc/shadow",
        &format!("root:*:{}:0:::::\n", EPOCH / 86_400 + 3),
    );
    let (tree, cleaned) = files.clean(&CustomRules::default()).unwrap();
    for (path, there) in [
        ("/var/lib/app/control", false),
        ("/etc/ssl/certs/4a6481c9.0", false),
        ("/etc/ssl/certs/real.0", true),
        ("/var/lib/dbus/machine-id", true),
    ] {
        assert_eq!(tree.find(path.as_bytes()).is_some(), there, "{path}");
    }
    assert_eq!(
        left(&tree, &files, "/etc/.updated").unwrap(),
        format!("TIMESTAMP_NSEC={EPOCH}000000000\n")
    );
    assert_eq!(
        left(&tree, &files, "/etc/shadow").unwrap(),
        format!("root:*:{}:0:::::\n", EPOCH / 86_400)
    );
    assert_eq!(cleaned.rules.len(), 4, "{cleaned:?}");
}

#[test]
fn what_is_left_over_is_what_cleaning_would_do() {
    let mut fake = Fake::with(&[
        "/etc/machine-id",
        "/var/lib/cloud/instances/i-1/user-data.txt",
        "/tmp/a/b",
        "/tmp/a-b",
        "/var/tmp/packaged",
        "/usr/bin/tool",
    ]);
    fake.file("/var/lib/dpkg/info/x.list", "/var/tmp/packaged\n");
    let tree = Tree::read(&fake).unwrap();
    let owners = Owners::read(&tree, &fake).unwrap();
    let found = leftovers(&tree, &fake, &owners).unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|left| (str::from_utf8(&left.path).unwrap(), left.rule))
        .collect();
    let expected = [
        ("/etc/machine-id", "machine-id"),
        ("/tmp/a", "temporary"),
        ("/tmp/a-b", "temporary"),
        ("/var/lib/cloud/instances", "cloud-init"),
    ];
    assert_eq!(found, expected);

    let mut cleaned = tree.clone();
    let keep = CustomRules {
        keep: vec!["/var/tmp/packaged".to_owned()],
        ..CustomRules::default()
    };
    clean(&mut cleaned, &fake, &owners, EPOCH, &keep).unwrap();
    assert_eq!(leftovers(&cleaned, &fake, &owners).unwrap(), []);
}
