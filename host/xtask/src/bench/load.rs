//! Requests without a pause over some connections, while something else happens to the host.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};

/// What became of the requests.
#[derive(Debug, Default, Clone, Copy)]
pub struct Load {
    /// Requests that were answered with 200.
    pub answered: u64,
    /// Requests that were answered otherwise, or not at all.
    pub failed: u64,
}

/// Sends `body` to `path` over so many connections until `meanwhile` has ended.
pub fn load<T>(
    address: SocketAddr,
    connections: usize,
    path: &str,
    body: &str,
    meanwhile: impl FnOnce() -> Result<T>,
) -> Result<(Load, T)> {
    let request = format!("POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let ask = || {
            let mut load = Load::default();
            let mut stream = None;
            while !over.load(Ordering::Relaxed) {
                match answered(&mut stream, address, request.as_bytes()) {
                    Ok(true) => load.answered += 1,
                    Ok(false) | Err(_) => load.failed += 1,
                }
            }
            load
        };
        let asking: Vec<_> = (0..connections).map(|_| scope.spawn(ask)).collect();
        let done = meanwhile();
        over.store(true, Ordering::Relaxed);
        let mut total = Load::default();
        for thread in asking {
            let load = thread.join().map_err(|_| anyhow::anyhow!("a thread that asked broke off"))?;
            total.answered += load.answered;
            total.failed += load.failed;
        }
        Ok((total, done?))
    })
}

/// One request over a connection that is kept; whether the answer is 200. A connection that broke is opened again.
fn answered(stream: &mut Option<BufReader<TcpStream>>, address: SocketAddr, request: &[u8]) -> Result<bool> {
    let mut open = match stream.take() {
        Some(open) => open,
        None => {
            let open = TcpStream::connect(address)?;
            open.set_nodelay(true)?;
            BufReader::new(open)
        }
    };
    open.get_ref().write_all(request)?;
    let (mut line, mut status, mut length) = (String::new(), None, 0);
    loop {
        line.clear();
        if open.read_line(&mut line)? == 0 {
            bail!("the connection ended");
        }
        let header = line.trim_end().to_ascii_lowercase();
        if status.is_none() {
            status = header.split(' ').nth(1).map(|code| code == "200");
        } else if let Some(value) = header.strip_prefix("content-length: ") {
            length = value.parse().context("a length that is no number")?;
        }
        if header.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    open.read_exact(&mut body)?;
    *stream = Some(open);
    Ok(status == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_from_failures() {
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let serving = std::thread::spawn(move || {
            let (stream, _) = server.accept().unwrap();
            let mut stream = BufReader::new(stream);
            for status in ["200 OK", "503 Service Unavailable"] {
                let mut line = String::new();
                while stream.read_line(&mut line).unwrap() > 2 {
                    line.clear();
                }
                write!(stream.get_mut(), "HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nok").unwrap();
            }
        });
        let mut stream = None;
        let request = b"POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n";
        assert!(answered(&mut stream, address, request).unwrap());
        assert!(!answered(&mut stream, address, request).unwrap());
        serving.join().unwrap();
        assert!(answered(&mut stream, address, request).is_err(), "nobody serves any more");
    }
}
