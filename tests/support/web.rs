//! A small web server on loopback, with files that a test gives it.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Serves until the process ends; keeps connections open.
pub struct Web {
    scheme: &'static str,
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Web {
    /// Serves these files: path and content. A content that begins with `-> ` is a redirect. `session` makes a connection one that
    /// can be served, and calls [`serve`].
    pub fn on<const N: usize>(
        host: &str,
        scheme: &'static str,
        files: [(&str, &[u8]); N],
        session: impl Fn(TcpStream, &Files, &Log) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let files = files
            .into_iter()
            .map(|(path, content)| (path.to_owned(), content.to_vec()));
        let files: Arc<Files> = Arc::new(files.collect());
        let listener = TcpListener::bind((host, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::<Log>::default();
        let (log, session) = (Arc::clone(&asked), Arc::new(session));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (files, log, session) =
                    (Arc::clone(&files), Arc::clone(&log), Arc::clone(&session));
                std::thread::spawn(move || session(stream, &files, &log));
            }
        });
        Self {
            scheme,
            address,
            asked,
        }
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    /// Heads of all requests so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Paths and contents.
pub type Files = BTreeMap<String, Vec<u8>>;
/// Heads of requests.
pub type Log = Mutex<Vec<String>>;

/// Answers the requests of one connection.
pub fn serve(stream: impl Read + Write, files: &Files, log: &Log) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head)? == 0 {
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
        let length = body.len();
        let writing = stream.get_mut();
        write!(
            writing,
            "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nAccept-Ranges: bytes\r\n{more}\r\n"
        )?;
        if words[0] != "HEAD" {
            writing.write_all(body)?;
        }
        writing.flush()?;
    }
}
