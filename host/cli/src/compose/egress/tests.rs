//! The way out against a server on this machine, and a resolver that says what the test wants.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::thread::JoinHandle;

use super::*;

/// Answers every name with the addresses that it was made with.
struct Fixed(Vec<&'static str>);

impl Resolve for Fixed {
    fn resolve(&self, _host: String, port: u16) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>> {
        let addresses = self.0.iter().map(|address| SocketAddr::new(address.parse().unwrap(), port)).collect();
        Box::pin(std::future::ready(Ok(addresses)))
    }
}

/// Answers one connection with `answer` and returns the request.
fn server(answer: Vec<u8>) -> (u16, JoinHandle<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let (mut request, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            length = line.to_ascii_lowercase().strip_prefix("content-length: ").map_or(length, |count| count.trim().parse().unwrap());
            request.push_str(&line);
            if line == "\r\n" || line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        // The other side may have had enough.
        let _ = stream.write_all(&answer);
        // Held open until the other side closes: an answer without an end has none.
        let _ = reader.read_to_end(&mut Vec::new());
        request + &String::from_utf8_lossy(&body)
    };
    (port, std::thread::spawn(serve))
}

fn exchange(host: &str, port: u16) -> Exchange {
    Exchange {
        is_tls: false,
        host: host.to_owned(),
        port,
        method: "POST".to_owned(),
        target: "/in?x=1".to_owned(),
        headers: vec![("x-key".to_owned(), "k".to_owned())],
        body: b"rows".to_vec(),
        answer_bytes_max: 1_000,
        within: Duration::from_secs(30),
    }
}

fn send(addresses: &[&'static str], exchange: &Exchange) -> Result<Answer, EgressError> {
    NetEgress::new(Arc::new(Fixed(addresses.to_vec()))).send(exchange)
}

fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\netag: \"7\"\r\n\r\n{body}", body.len()).into_bytes()
}

#[test]
fn a_request_goes_out_whole_and_its_answer_comes_back() {
    let (port, served) = server(ok("seen"));
    let answer = send(&[], &exchange("127.0.0.1", port)).unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"seen".as_slice()));
    assert!(answer.headers.contains(&("etag".to_owned(), "\"7\"".to_owned())));
    let request = served.join().unwrap();
    assert!(request.starts_with("POST /in?x=1 HTTP/1.1\r\n") && request.ends_with("\r\n\r\nrows"), "{request}");
    for header in
        [&format!("host: 127.0.0.1:{port}"), "connection: close", "accept-encoding: identity", "x-key: k", "user-agent: tidegate/"]
    {
        assert!(request.contains(header), "{header}: {request}");
    }
}

#[test]
fn a_name_leads_to_the_address_that_was_checked() {
    let (port, served) = server(ok(""));
    assert_eq!(send(&["127.0.0.1"], &exchange("localhost", port)).unwrap().status, 200);
    assert!(served.join().unwrap().contains(&format!("host: localhost:{port}")));
}

#[test]
fn a_name_does_not_lead_into_this_machine_or_its_network() {
    for (host, addresses, expected) in [
        ("alerts.example.com", vec!["127.0.0.1"], "leads to `127.0.0.1`, which is this machine"),
        ("alerts.example.com", vec!["1.1.1.1", "10.0.0.7"], "leads to `10.0.0.7`, which is in a private network"),
        ("alerts.example.com", vec!["::ffff:127.0.0.1"], "which is this machine"),
        ("alerts.example.com", vec!["169.254.169.254"], "neither public nor private"),
        ("metadata.google.internal", vec!["169.254.169.254"], "neither public nor private"),
        ("localhost", vec!["10.0.0.7"], "in a private network"),
    ] {
        let error = send(&addresses, &exchange(host, 1)).unwrap_err();
        assert!(matches!(error, EgressError::Forbidden { .. }) && error.to_string().contains(expected), "{host}: {error}");
    }
    let Err(EgressError::Forbidden { address, .. }) = send(&["10.0.0.7"], &exchange("a.example", 1)) else { panic!("it was sent") };
    assert_eq!(address, "10.0.0.7", "what would have to be granted");
    assert!(send(&[], &exchange("a.example", 1)).unwrap_err().to_string().contains("has no address"));
}

#[test]
fn an_answer_is_taken_to_its_limit_and_no_further() {
    let (port, served) = server(ok(&"x".repeat(1_000)));
    assert_eq!(send(&[], &exchange("127.0.0.1", port)).unwrap().body.len(), 1_000);
    served.join().unwrap();
    let (port, served) = server(ok(&"x".repeat(1_001)));
    assert_eq!(send(&[], &exchange("127.0.0.1", port)).unwrap_err(), EgressError::TooLarge { bytes_max: 1_000 });
    served.join().unwrap();
    // It says nothing of its length and never ends.
    let mut endless = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    endless.resize(4 << 20, b'x');
    let (port, served) = server(endless);
    assert_eq!(send(&[], &exchange("127.0.0.1", port)).unwrap_err(), EgressError::TooLarge { bytes_max: 1_000 });
    served.join().unwrap();
}

#[test]
fn an_answer_that_does_not_end_is_not_waited_for() {
    let (port, served) = server(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nslow".to_vec());
    let slow = Exchange { within: Duration::from_millis(50), ..exchange("127.0.0.1", port) };
    assert_eq!(send(&[], &slow).unwrap_err(), EgressError::TimedOut { within_ms: 50 });
    served.join().unwrap();
}

#[test]
fn what_is_no_answer_is_named() {
    let (port, served) = server(b"220 mail.example ESMTP\r\n".to_vec());
    let error = send(&[], &exchange("127.0.0.1", port)).unwrap_err().to_string();
    assert!(error.contains("the connection broke: invalid HTTP"), "{error}");
    served.join().unwrap();
    let many = (0..200).map(|number| format!("h{number}: x\r\n")).collect::<String>();
    let (port, served) = server(format!("HTTP/1.1 200 OK\r\n{many}\r\n").into_bytes());
    let error = send(&[], &exchange("127.0.0.1", port)).unwrap_err().to_string();
    assert!(error.contains("the connection broke"), "{error}");
    served.join().unwrap();
}

#[test]
fn nobody_at_the_port_can_be_tried_again() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = send(&[], &exchange("127.0.0.1", port)).unwrap_err();
    assert!(
        matches!(&error, EgressError::Failed { retryable: true, message } if message.contains("could not connect to `127.0.0.1`")),
        "{error}"
    );
}

#[test]
fn tls_is_not_spoken_with_what_does_not_speak_it() {
    let (port, served) = server(ok("plain"));
    let error = send(&[], &Exchange { is_tls: true, ..exchange("127.0.0.1", port) }).unwrap_err().to_string();
    assert!(error.contains("no TLS connection to `127.0.0.1`") || error.contains("certificates could not be read"), "{error}");
    drop(served);
}

/// Answers a name with one list of addresses after the other, as somebody's name server may, and counts how often it was asked.
struct Rebinding(std::sync::Mutex<Vec<Vec<&'static str>>>);

impl Resolve for Rebinding {
    fn resolve(&self, _host: String, port: u16) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>> {
        let addresses = self.0.lock().unwrap().remove(0);
        let addresses = addresses.iter().map(|address| SocketAddr::new(address.parse().unwrap(), port)).collect();
        Box::pin(std::future::ready(Ok(addresses)))
    }
}

/// Opens nothing and keeps what it was asked to open.
#[derive(Default)]
struct Nowhere(std::sync::Mutex<Vec<SocketAddr>>);

impl Connect for Nowhere {
    fn connect(&self, address: SocketAddr) -> Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>> {
        self.0.lock().unwrap().push(address);
        Box::pin(std::future::ready(Err(io::Error::from(io::ErrorKind::ConnectionRefused))))
    }
}

/// Sends to `host` twice, the name server answering in turn; the addresses that were connected to.
fn connected(host: &str, answers: &[&[&'static str]]) -> Vec<String> {
    let resolver = Arc::new(Rebinding(std::sync::Mutex::new(answers.iter().map(|answer| answer.to_vec()).collect())));
    let connector = Arc::new(Nowhere::default());
    let way_out = NetEgress::over(Arc::clone(&resolver) as _, Arc::clone(&connector) as _);
    for _ in 0..answers.len().max(1) {
        assert!(way_out.send(&exchange(host, 80)).is_err());
    }
    assert!(resolver.0.lock().unwrap().is_empty(), "one question a request");
    let asked = connector.0.lock().unwrap();
    asked.iter().map(|address| address.ip().to_string()).collect()
}

#[test]
fn no_connection_is_tried_that_was_not_checked() {
    // By name, in every spelling of an address that is not public; one such among public ones spoils all.
    for private in
        ["127.0.0.1", "10.0.0.7", "192.168.0.1", "169.254.169.254", "0.0.0.0", "::1", "fd00:ec2::254", "fe80::1", "::ffff:127.0.0.1"]
    {
        assert!(connected("alerts.example.com", &[&[private]]).is_empty(), "{private}");
        assert!(connected("alerts.example.com", &[&["1.1.1.1", private]]).is_empty(), "{private}");
    }
    // A name that is public when it is checked and private when it is used: what was checked is what is used, and the next request
    // is checked again.
    assert_eq!(connected("alerts.example.com", &[&["1.1.1.1"], &["127.0.0.1"]]), ["1.1.1.1"]);
    assert_eq!(connected("alerts.example.com", &[&["127.0.0.1"], &["1.1.1.1"]]), ["1.1.1.1"]);
    // Names that look like addresses are names: only the resolver says where they lead.
    assert!(connected("127.0.0.1.nip.example", &[&["127.0.0.1"]]).is_empty());
    // By number: the operator wrote it into the grant, or the request would not be here.
    assert_eq!(connected("127.0.0.1", &[]), ["127.0.0.1"]);
    // No more than a few of many.
    let many: Vec<&'static str> = vec!["1.1.1.1"; 50];
    assert_eq!(connected("alerts.example.com", &[&many]).len(), ADDRESSES_MAX);
}
