//! An HTTP client of a few lines: one connection that is kept, one request after the other, everything within a time.

use std::io::{BufRead as _, BufReader, Error, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// How long the other side may be silent.
const SILENCE: Duration = Duration::from_secs(30);

/// What came back.
#[derive(Debug)]
pub struct Reply {
    /// Such as 200.
    pub status: u16,
    /// The body.
    pub body: String,
}

impl Reply {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{}: `{}` is not JSON: {error}", self.status, self.body))
    }

    /// The sentence of a refusal.
    pub fn refusal(&self) -> String {
        self.json()["error"].as_str().unwrap_or_else(|| panic!("{}: `{}` says no reason", self.status, self.body)).to_owned()
    }
}

/// A connection to a server, opened again where it was closed.
pub struct Client {
    address: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
    token: Option<String>,
    host: String,
}

impl Client {
    /// A client of the server at `address`; it connects with its first request.
    pub fn new(address: SocketAddr) -> Client {
        Client { address, stream: None, token: None, host: address.to_string() }
    }

    /// The same with a token.
    pub fn with_token(address: SocketAddr, token: &str) -> Client {
        Client { token: Some(token.to_owned()), ..Client::new(address) }
    }

    /// A client that calls the server by another name.
    pub fn calling(address: SocketAddr, host: &str) -> Client {
        Client { host: host.to_owned(), ..Client::new(address) }
    }

    /// `GET`; panics where nothing comes back.
    pub fn get(&mut self, path: &str) -> Reply {
        self.send("GET", path, "").unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// `POST` with a JSON body; panics where nothing comes back.
    pub fn post(&mut self, path: &str, body: &Value) -> Reply {
        self.send("POST", path, &body.to_string()).unwrap_or_else(|error| panic!("POST {path}: {error}"))
    }

    /// One request and its answer, over the connection that is there.
    pub fn send(&mut self, method: &str, path: &str, body: &str) -> std::io::Result<Reply> {
        let stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect_timeout(&self.address, SILENCE)?;
                stream.set_read_timeout(Some(SILENCE))?;
                stream.set_write_timeout(Some(SILENCE))?;
                stream.set_nodelay(true)?;
                BufReader::new(stream)
            }
        };
        let token = self.token.as_ref().map_or_else(String::new, |token| format!("authorization: Bearer {token}\r\n"));
        let head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n{token}\r\n", self.host, body.len());
        stream.get_ref().write_all(format!("{head}{body}").as_bytes())?;
        let (reply, stream) = read(stream)?;
        self.stream = stream;
        Ok(reply)
    }
}

/// Reads one answer; the connection comes back where it can be used again.
fn read(mut stream: BufReader<TcpStream>) -> std::io::Result<(Reply, Option<BufReader<TcpStream>>)> {
    let odd = |what: &str| Error::new(ErrorKind::InvalidData, what.to_owned());
    let line = |stream: &mut BufReader<TcpStream>| {
        let mut line = String::new();
        match stream.read_line(&mut line)? {
            0 => Err(Error::from(ErrorKind::UnexpectedEof)),
            _ => Ok(line.trim_end().to_ascii_lowercase()),
        }
    };
    let first = line(&mut stream)?;
    let status = first.strip_prefix("http/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok()).ok_or_else(|| odd(&first))?;
    let (mut length, mut closes) = (None, false);
    loop {
        let header = line(&mut stream)?;
        let Some((name, value)) = header.split_once(": ") else { break };
        match name {
            "content-length" => length = value.parse::<usize>().ok(),
            "connection" => closes = value == "close",
            _ => {}
        }
    }
    let mut body = vec![0; length.ok_or_else(|| odd("an answer without a length"))?];
    stream.read_exact(&mut body)?;
    let body = String::from_utf8(body).map_err(|_| odd("a body that is not UTF-8"))?;
    Ok((Reply { status, body }, (!closes).then_some(stream)))
}
