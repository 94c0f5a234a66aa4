//! Requests without a pause over some connections, while something else happens to the host.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// What became of the requests.
#[derive(Debug, Default, Clone)]
pub struct Load {
    /// Requests that were answered with 200.
    pub answered: u64,
    /// Requests that were answered otherwise, or not at all.
    pub failed: u64,
    /// How long each took, in milliseconds, in no order.
    pub milliseconds: Vec<f32>,
}

impl Load {
    /// The share `share` of the requests took no longer than this, in milliseconds; NaN without requests.
    pub fn quantile_ms(&self, share: f64) -> f64 {
        let mut sorted = self.milliseconds.clone();
        sorted.sort_by(f32::total_cmp);
        let last = sorted.len().saturating_sub(1);
        sorted.get((last as f64 * share).ceil() as usize).map_or(f64::NAN, |milliseconds| f64::from(*milliseconds))
    }
}

/// Sends `body` to `path` over so many connections until `meanwhile` has ended, which is told how many requests were sent so far.
pub fn load<T>(
    address: SocketAddr,
    connections: usize,
    path: &str,
    body: &str,
    meanwhile: impl FnOnce(&AtomicU64) -> Result<T>,
) -> Result<(Load, T)> {
    let request = format!("POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let (over, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let ask = || {
            let mut load = Load::default();
            let mut stream = None;
            while !over.load(Ordering::Relaxed) {
                let start = Instant::now();
                match answered(&mut stream, address, request.as_bytes()) {
                    Ok(true) => load.answered += 1,
                    Ok(false) | Err(_) => load.failed += 1,
                }
                load.milliseconds.push(start.elapsed().as_secs_f32() * 1e3);
                sent.fetch_add(1, Ordering::Relaxed);
            }
            load
        };
        let asking: Vec<_> = (0..connections).map(|_| scope.spawn(ask)).collect();
        let done = meanwhile(&sent);
        over.store(true, Ordering::Relaxed);
        let mut total = Load::default();
        for thread in asking {
            let load = thread.join().map_err(|_| anyhow::anyhow!("a thread that asked broke off"))?;
            total.answered += load.answered;
            total.failed += load.failed;
            total.milliseconds.extend(load.milliseconds);
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
    fn a_quantile_is_one_of_the_times() {
        let load = |milliseconds: &[f32]| Load { milliseconds: milliseconds.to_vec(), ..Load::default() };
        let hundred: Vec<f32> = (0..=100).rev().map(|index| index as f32).collect();
        assert_eq!((load(&hundred).quantile_ms(0.99), load(&hundred).quantile_ms(1.0)), (99.0, 100.0));
        assert_eq!(load(&[3.0]).quantile_ms(0.99), 3.0);
        assert!(load(&[]).quantile_ms(0.5).is_nan());
    }

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
