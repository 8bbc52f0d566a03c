//! A package archive on loopback, whose files a test changes while it runs. It answers conditional requests.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use karat::digest::Digest;

/// Files by path.
type Files = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// Serves until the process ends.
pub struct Archive {
    pub uri: String,
    files: Files,
    answers: Arc<Mutex<Vec<String>>>,
}

impl Archive {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let (files, answers) = (Files::default(), Arc::<Mutex<Vec<String>>>::default());
        let (served, log) = (Arc::clone(&files), Arc::clone(&answers));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that goes away is its own affair.
                let _ = serve(&stream, &served, &log);
            }
        });
        let uri = format!("http://{address}/debian");
        Self {
            uri,
            files,
            answers,
        }
    }

    /// Puts a suite there: `name version` of each package of the architecture amd64. `more` are fields of its release.
    pub fn put(&self, suite: &str, more: &str, packages: &[(&str, &str)]) {
        let paragraph = |(name, version): &(&str, &str)| {
            format!("Package: {name}\nVersion: {version}\nArchitecture: amd64\n\n")
        };
        let index: String = packages.iter().map(paragraph).collect();
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(index.as_bytes()).expect("to memory");
        let packed = packed.finish().expect("to memory");
        let (path, digest, size) = (
            "main/binary-amd64/Packages.gz",
            Digest::of(&packed),
            packed.len(),
        );
        let release = format!(
            "Suite: {suite}\nDate: Thu, 01 Jan 2026 00:00:00 UTC\n{more}SHA256:\n {} {size} {path}\n",
            digest.hex()
        );
        let mut files = self.files.lock().expect("no thread panics");
        files.insert(format!("/debian/dists/{suite}/{path}"), packed);
        files.insert(
            format!("/debian/dists/{suite}/InRelease"),
            release.into_bytes(),
        );
    }

    /// Puts an RPM repository there: `name version` of each package without an architecture, all of the release 1.
    pub fn put_rpm(&self, packages: &[(&str, &str)]) -> Digest {
        let package = |(name, version): &(&str, &str)| {
            format!(
                "<package type=\"rpm\"><name>{name}</name><arch>noarch</arch>\
                 <version epoch=\"0\" ver=\"{version}\" rel=\"1\"/></package>"
            )
        };
        let packages: String = packages.iter().map(package).collect();
        let primary = format!("<metadata>{packages}</metadata>");
        let repomd = format!(
            "<repomd><data type=\"primary\"><checksum type=\"sha256\">{}</checksum>\
             <location href=\"repodata/primary.xml\"/></data></repomd>",
            Digest::of(primary.as_bytes()).hex()
        );
        let digest = Digest::of(repomd.as_bytes());
        let mut files = self.files.lock().expect("no thread panics");
        files.insert(
            "/debian/repodata/primary.xml".to_owned(),
            primary.into_bytes(),
        );
        files.insert(
            "/debian/repodata/repomd.xml".to_owned(),
            repomd.into_bytes(),
        );
        digest
    }

    /// Digest of a suite's signed index, as it is now.
    pub fn in_release(&self, suite: &str) -> Digest {
        let files = self.files.lock().expect("no thread panics");
        Digest::of(&files[&format!("/debian/dists/{suite}/InRelease")])
    }

    /// Removes everything.
    pub fn clear(&self) {
        self.files.lock().expect("no thread panics").clear();
    }

    /// `STATUS PATH` of each answer since the last call.
    pub fn answers(&self) -> Vec<String> {
        std::mem::take(&mut self.answers.lock().expect("no thread panics"))
    }
}

fn serve(stream: &TcpStream, files: &Files, log: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut head, mut known) = (String::new(), None);
    reader.read_line(&mut head)?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("if-none-match") => {
                known = Some(value.to_owned());
            }
            Some(_) => {}
            None => break,
        }
    }
    let path = head.split(' ').nth(1).unwrap_or_default();
    let body = files.lock().expect("no thread panics").get(path).cloned();
    let tag = body
        .as_ref()
        .map(|body| format!("\"{}\"", Digest::of(body).hex()));
    let (status, body) = match body {
        None => ("404 Not Found", Vec::new()),
        Some(_) if known == tag => ("304 Not Modified", Vec::new()),
        Some(body) => ("200 OK", body),
    };
    log.lock()
        .expect("no thread panics")
        .push(format!("{} {path}", &status[..3]));
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    )?;
    if let Some(tag) = tag {
        write!(stream, "ETag: {tag}\r\n")?;
    }
    write!(stream, "\r\n")?;
    stream.write_all(&body)
}
