//! Files from the far side.

use std::fs;
use std::path::{Path, PathBuf};

use karat::ssh::SshError;

use crate::support::sshd::Sshd;
use crate::{bar, chain, login};

async fn download(sshd: &Sshd, source: &Path, destination: &Path) -> Result<(), SshError> {
    let progress = bar();
    login(sshd)
        .await
        .download(source.to_str().unwrap(), destination, &progress)
        .await
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn places(sshd: &Sshd) -> (PathBuf, PathBuf) {
    let (there, here) = (
        sshd.directory().join("there"),
        sshd.directory().join("here"),
    );
    fs::create_dir(&there).unwrap();
    fs::create_dir(&here).unwrap();
    (there, here)
}

#[tokio::test]
async fn files_and_directories_arrive() {
    let sshd = Sshd::start();
    let (there, here) = places(&sshd);
    let odd = "a $(file) with\nspace 'é";
    fs::write(there.join(odd), "odd").unwrap();
    fs::write(there.join("-rf"), "dash").unwrap();
    fs::create_dir_all(there.join("dir/sub")).unwrap();
    fs::create_dir(there.join("dir/empty")).unwrap();
    fs::write(there.join("dir/sub/file"), "inside").unwrap();
    fs::hard_link(there.join("dir/sub/file"), there.join("dir/twin")).unwrap();
    std::os::unix::fs::symlink("sub/file", there.join("dir/link")).unwrap();
    let big = vec![7; 20 << 20];
    fs::write(there.join("big"), &big).unwrap();

    download(&sshd, &there.join(odd), &here.join("renamed"))
        .await
        .unwrap();
    download(&sshd, &there.join(odd), &here).await.unwrap();
    download(&sshd, &there.join("-rf"), &here.join("made/"))
        .await
        .unwrap();
    download(&sshd, &there.join("dir"), &here.join("copy"))
        .await
        .unwrap();
    download(&sshd, &there.join("dir/"), &here).await.unwrap();
    download(&sshd, &there.join("dir"), &here).await.unwrap();
    download(&sshd, &there.join("big"), &here.join("renamed"))
        .await
        .unwrap();

    assert_eq!(
        fs::read(here.join("renamed")).unwrap(),
        big,
        "an existing file is replaced"
    );
    assert_eq!(fs::read_to_string(here.join(odd)).unwrap(), "odd");
    assert_eq!(fs::read_to_string(here.join("made/-rf")).unwrap(), "dash");
    for copy in ["copy", "dir"] {
        assert_eq!(names(&here.join(copy)), ["empty", "link", "sub", "twin"]);
        for file in ["sub/file", "twin", "link"] {
            assert_eq!(
                fs::read_to_string(here.join(copy).join(file)).unwrap(),
                "inside"
            );
        }
    }
    assert_eq!(
        names(&here),
        [odd, "copy", "dir", "made", "renamed"],
        "nothing is left over"
    );
}

#[tokio::test]
async fn what_is_missing_or_no_path_is_an_error() {
    let sshd = Sshd::start();
    let (there, here) = places(&sshd);
    std::os::unix::fs::symlink("nowhere", there.join("broken")).unwrap();
    for (source, reason) in [
        (there.join("missing"), "no such file or directory"),
        (there.join("broken"), "a broken link"),
        (PathBuf::from("relative"), "the absolute path"),
        (PathBuf::from("/"), "the absolute path"),
        (PathBuf::from("/tmp/.."), "the absolute path"),
    ] {
        let error = chain(&download(&sshd, &source, &here.join("x")).await.unwrap_err());
        assert!(error.contains(reason), "{}: {error}", source.display());
        assert!(names(&here).is_empty());
    }
}

/// A tar archive of one entry, which may lie about everything.
fn hostile(name: &str, kind: tar::EntryType, link: &str) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(4);
    if kind != tar::EntryType::Regular {
        header.set_size(0);
    }
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    if kind == tar::EntryType::Regular {
        bytes.extend_from_slice(b"evil");
        bytes.resize(1024, 0);
    }
    bytes
}

#[tokio::test]
async fn a_server_that_answers_with_another_path_is_refused() {
    let sshd = Sshd::start();
    let (there, here) = places(&sshd);
    drop(sshd);
    let end = vec![0; 1024];
    let file = tar::EntryType::Regular;
    let archives = [
        [hostile("../x", file, ""), end.clone()].concat(),
        [hostile("./asked/../../x", file, ""), end.clone()].concat(),
        [hostile("/tmp/karat-evil", file, ""), end.clone()].concat(),
        [hostile("other", file, ""), end.clone()].concat(),
        [
            hostile("asked", tar::EntryType::Symlink, "/etc"),
            hostile("asked/x", file, ""),
            end.clone(),
        ]
        .concat(),
        [
            hostile("asked", tar::EntryType::Link, "/etc/passwd"),
            end.clone(),
        ]
        .concat(),
        [hostile("asked", tar::EntryType::Char, ""), end].concat(),
    ];
    for archive in archives {
        // Whatever is asked, this server answers with the archive.
        let answer = tempfile::NamedTempFile::new().unwrap();
        fs::write(answer.path(), archive).unwrap();
        let sshd = Sshd::with(&format!("ForceCommand cat {}", answer.path().display()));
        let here = sshd.directory().join("here");
        fs::create_dir(&here).unwrap();
        let error = download(&sshd, &there.join("asked"), &here.join("asked"))
            .await
            .unwrap_err();
        assert!(
            matches!(error, SshError::Hostile { .. }),
            "{}",
            chain(&error)
        );
        assert!(names(&here).is_empty());
        assert!(!Path::new("/tmp/karat-evil").exists() && !sshd.directory().join("x").exists());
    }
    drop(here);
}

#[tokio::test]
async fn a_download_cut_short_leaves_nothing() {
    let sshd = Sshd::start();
    let (there, here) = places(&sshd);
    fs::File::create(there.join("big"))
        .unwrap()
        .set_len(4 << 30)
        .unwrap();
    fs::write(here.join("big"), "old").unwrap();
    let (source, target) = (there.join("big"), here.join("big"));
    let (result, ()) = tokio::join!(download(&sshd, &source, &target), async {
        while names(&here).len() < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        // Some of the data has come by now.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        sshd.drop_connections();
    });
    let error = result.unwrap_err();
    assert!(
        matches!(error, SshError::Disconnected { .. }),
        "{}",
        chain(&error)
    );
    assert_eq!(names(&here), ["big"]);
    assert_eq!(fs::read_to_string(here.join("big")).unwrap(), "old");
}
