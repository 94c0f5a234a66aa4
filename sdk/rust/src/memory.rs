//! The host in memory, for tests on the machine the author works on: what `bindings::host` is on wasm, with the same shapes.
//!
//! It keeps the rules that a plugin can break: types, lengths, ranges and UTF-8 are checked as the host checks them.

pub mod failures {
    //! Failures.

    /// A failure as it crosses.
    #[derive(Debug, Clone)]
    pub struct Failure {
        pub code: u16,
        pub message: String,
        pub retryable: bool,
        pub retry_after_ms: Option<u64>,
    }

    impl Failure {
        pub(crate) fn new(message: String) -> Failure {
            Failure { code: 0, message, retryable: false, retry_after_ms: None }
        }
    }
}

pub mod rows;
pub mod state;

pub mod measurements {
    //! Reports.

    use std::cell::RefCell;

    use super::rows::DataError;
    use crate::testing::Terms;

    /// What was told so far: metric, class or empty, terms.
    #[derive(Debug, Default)]
    pub struct Report {
        pub rows: usize,
        pub told: RefCell<Vec<(String, String, Terms)>>,
    }

    impl Report {
        fn tell(&self, metric: &str, class: &str, terms: Terms, lengths: &[usize]) -> Result<(), DataError> {
            if let Some(length) = lengths.iter().find(|length| **length != self.rows) {
                return Err(DataError { code: 4, message: format!("`{metric}` has {length} terms for {} rows", self.rows) });
            }
            self.told.borrow_mut().push((metric.into(), class.into(), terms));
            Ok(())
        }

        pub fn mean(&self, metric: &str, values: &[f64]) -> Result<(), DataError> {
            self.tell(metric, "", Terms::Mean(values.to_vec()), &[values.len()])
        }

        pub fn ratio(&self, metric: &str, numerators: &[f64], denominators: &[f64]) -> Result<(), DataError> {
            let terms = Terms::Ratio(numerators.to_vec(), denominators.to_vec());
            self.tell(metric, "", terms, &[numerators.len(), denominators.len()])
        }

        pub fn class_ratio(&self, metric: &str, class: &str, numerators: &[f64], denominators: &[f64]) -> Result<(), DataError> {
            let terms = Terms::Ratio(numerators.to_vec(), denominators.to_vec());
            self.tell(metric, class, terms, &[numerators.len(), denominators.len()])
        }

        pub fn quantile(&self, metric: &str, q: f64, values: &[f64]) -> Result<(), DataError> {
            self.tell(metric, "", Terms::Quantile(q, values.to_vec()), &[values.len()])
        }

        pub fn ranking(&self, metric: &str, values: &[f64], labels: &[u8]) -> Result<(), DataError> {
            self.tell(metric, "", Terms::Ranking(values.to_vec(), labels.to_vec()), &[values.len(), labels.len()])
        }

        pub fn opaque(&self, metric: &str, value: f64, count: u64) -> Result<(), DataError> {
            self.tell(metric, "", Terms::Opaque(value, count), &[])
        }
    }
}

pub mod log {
    //! Log lines, kept for the test that wrote them.

    use std::cell::RefCell;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Level {
        Error,
        Warn,
        Info,
        Debug,
        Trace,
    }

    thread_local! { pub static LINES: RefCell<Vec<(Level, String)>> = const { RefCell::new(Vec::new()) }; }

    pub fn write(level: Level, message: &str) {
        LINES.with_borrow_mut(|lines| lines.push((level, message.to_owned())));
    }
}

pub mod clock {
    //! A clock that tests set.

    use std::cell::Cell;

    thread_local! { pub static NOW_US: Cell<i64> = const { Cell::new(0) }; }

    pub fn now_us() -> i64 {
        NOW_US.get()
    }
}

pub mod inputs {
    //! Byte streams that tests lend.

    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use std::rc::Rc;

    use super::failures::Failure;

    /// A lent stream: its bytes, and how often it was replaced.
    #[derive(Debug, Default)]
    pub struct Stream {
        pub bytes: Vec<u8>,
        pub generation: u64,
    }

    pub type Shared = Rc<RefCell<Stream>>;

    thread_local! { pub static LENT: RefCell<BTreeMap<String, Shared>> = const { RefCell::new(BTreeMap::new()) }; }

    pub struct Input(Shared);

    impl Input {
        pub fn byte_count(&self) -> Result<u64, Failure> {
            Ok(self.0.borrow().bytes.len() as u64)
        }

        pub fn generation(&self) -> Result<String, Failure> {
            Ok(self.0.borrow().generation.to_string())
        }

        pub fn read(&self, offset: u64, count: u32) -> Result<Vec<u8>, Failure> {
            let stream = self.0.borrow();
            let start = stream.bytes.len().min(usize::try_from(offset).unwrap_or(usize::MAX));
            let end = stream.bytes.len().min(start.saturating_add(count as usize));
            Ok(stream.bytes[start..end].to_vec())
        }
    }

    pub fn entries(name: &str) -> Result<Vec<String>, Failure> {
        let under = format!("{name}/");
        let found =
            LENT.with_borrow(|lent| lent.keys().filter(|entry| *entry == name || entry.starts_with(&under)).cloned().collect::<Vec<_>>());
        if found.is_empty() { Err(not_lent(name)) } else { Ok(found) }
    }

    pub fn open(entry: &str) -> Result<Input, Failure> {
        LENT.with_borrow(|lent| lent.get(entry).cloned()).map(Input).ok_or_else(|| not_lent(entry))
    }

    fn not_lent(name: &str) -> Failure {
        Failure::new(format!("no input named `{name}` was lent"))
    }
}

pub mod http {
    //! Requests, answered by what the test has queued.

    use std::cell::RefCell;
    use std::collections::VecDeque;

    use super::failures::Failure;

    #[derive(Debug, Clone)]
    pub struct Header {
        pub name: String,
        pub value: String,
    }

    #[derive(Debug, Clone)]
    pub struct Request {
        pub method: String,
        pub url: String,
        pub headers: Vec<Header>,
        pub body: Vec<u8>,
        pub secret: Option<String>,
    }

    #[derive(Debug, Clone)]
    pub struct Response {
        pub status: u16,
        pub headers: Vec<Header>,
        pub body: Vec<u8>,
    }

    thread_local! {
        pub static ANSWERS: RefCell<VecDeque<Response>> = const { RefCell::new(VecDeque::new()) };
        pub static SENT: RefCell<Vec<Request>> = const { RefCell::new(Vec::new()) };
    }

    pub fn send(request: &Request) -> Result<Response, Failure> {
        SENT.with_borrow_mut(|sent| sent.push(request.clone()));
        let answer = ANSWERS.with_borrow_mut(VecDeque::pop_front);
        answer.ok_or_else(|| Failure::new(format!("no answer is queued for `{}`", request.url)))
    }
}
