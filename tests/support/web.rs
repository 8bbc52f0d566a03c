//! A small web server on loopback, with files that a test gives it.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

/// Serves until the process ends; keeps connections open and answers requests that come in one piece.
pub struct Web {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Web {
    /// Serves these files: path and content. A content that begins with `-> ` is a redirect.
    pub fn start<const N: usize>(files: [(&str, &[u8]); N]) -> Self {
        let files: BTreeMap<String, Vec<u8>> = files
            .into_iter()
            .map(|(path, content)| (path.to_owned(), content.to_vec()))
            .collect();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let (files, log) = (Arc::new(files), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (files, log) = (Arc::clone(&files), Arc::clone(&log));
                std::thread::spawn(move || {
                    let reading = stream.try_clone().unwrap();
                    serve(reading, stream, &files, &log)
                });
            }
        });
        Self { address, asked }
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Heads of all requests so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(
    reading: impl Read,
    mut writing: impl Write,
    files: &BTreeMap<String, Vec<u8>>,
    log: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut reading = BufReader::new(reading);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reading.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        log.lock().unwrap().push(head.clone());
        let words: Vec<&str> = head.split(' ').collect();
        let path = words[1].split('?').next().unwrap_or_default();
        let body: &[u8] = files
            .get(path)
            .map_or(b"there is no such file\n", |body| body);
        let (status, more) = match (files.contains_key(path), body.strip_prefix(b"-> ")) {
            (false, _) => ("404 Not Found", String::new()),
            (true, None) => ("200 OK", String::new()),
            (true, Some(to)) => (
                "302 Found",
                format!("Location: {}\r\n", String::from_utf8_lossy(to)),
            ),
        };
        write!(
            writing,
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nAccept-Ranges: bytes\r\n{more}\r\n",
            body.len()
        )?;
        if words[0] != "HEAD" {
            writing.write_all(body)?;
        }
        writing.flush()?;
    }
}
