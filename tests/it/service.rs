//! `tidegate up` as a test sees it: started in a world, asked over HTTP and by its commands, stopped.
//!
//! Whatever a test waits for is asked for again and again until a deadline that nothing healthy comes near; nothing waits for a fixed time.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::Client;
use crate::host::{Ended, World};

/// The longest that anything here takes on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// A running host. It is killed when dropped; [`Service::stop`] ends it as an operator does.
pub struct Service {
    child: Child,
    said: Arc<Mutex<Vec<Value>>>,
    reader: Option<JoinHandle<()>>,
    address: SocketAddr,
}

impl Service {
    /// A host in `world`, on a port that was free.
    pub fn start(world: &World) -> Service {
        let mut command = world.command(["up", "--listen", "127.0.0.1:0", "--json"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let (kept, stderr) = (Arc::clone(&said), BufReader::new(child.stderr.take().unwrap()));
        let reader = std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                kept.lock().unwrap().push(value);
            }
        });
        let unknown = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut service = Service { child, said, reader: Some(reader), address: unknown };
        service.address = wait("the host listens", || {
            if let Some(status) = service.child.try_wait().unwrap() {
                panic!("the host ended with {status}: {:?}", service.said());
            }
            service.said().iter().find_map(|line| line["listening"].as_str()?.parse().ok())
        });
        service
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has said on stderr so far, a value a line.
    pub fn said(&self) -> Vec<Value> {
        self.said.lock().unwrap().clone()
    }

    /// The token of a role that was shown at the first start.
    pub fn token(&self, role: &str) -> Option<String> {
        let said = self.said();
        let line = said.iter().find(|line| line["role"] == role)?;
        line["token"].as_str().map(str::to_owned)
    }

    /// A connection without a token.
    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// What `/v1/status` says.
    pub fn status(&self) -> Value {
        self.client().get("/v1/status").json()
    }

    /// What the status says of the pipeline `name`.
    pub fn pipeline(&self, name: &str) -> Value {
        let status = self.status();
        let found = status["pipelines"].as_array().and_then(|pipelines| pipelines.iter().find(|pipeline| pipeline["id"] == name));
        found.unwrap_or_else(|| panic!("there is no pipeline `{name}` in {status:#}")).clone()
    }

    /// Waits until the status of the pipeline `name` is as `is` wants it, and returns it.
    pub fn until(&self, name: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let pipeline = self.pipeline(name);
            if is(&pipeline) {
                return pipeline;
            }
            assert!(started.elapsed() < PATIENCE, "`{name}`: waited in vain until {what}: {pipeline:#}\n{:#?}", self.said());
            std::thread::sleep(LOOK);
        }
    }

    /// Tells it by SIGHUP to read its files again.
    pub fn hang_up(&self) {
        self.signal("HUP");
    }

    fn signal(&self, name: &str) {
        let kill = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.child.id())]).status().unwrap();
        assert!(kill.success(), "the host had ended before: {:?}", self.said());
    }

    /// Stops it with SIGTERM, which must end it well; what it said.
    pub fn stop(mut self) -> Vec<Value> {
        self.signal("TERM");
        let status = end_of(&mut self.child);
        // The pipe has ended with the process.
        self.reader.take().map(JoinHandle::join).unwrap().unwrap();
        assert_eq!(status.code(), Some(0), "{:#?}", self.said());
        self.said()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks `done` until it has an answer.
pub fn wait<T>(what: &str, done: impl FnMut() -> Option<T>) -> T {
    wait_or(what, done, String::new)
}

/// The same; `stands` says how things stand if there is none.
pub fn wait_or<T>(what: &str, mut done: impl FnMut() -> Option<T>, stands: impl FnOnce() -> String) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = done() {
            return answer;
        }
        if started.elapsed() >= PATIENCE {
            panic!("waited in vain until {what}: {}", stands());
        }
        std::thread::sleep(LOOK);
    }
}

/// Runs a command that is to end by itself; one that does not is killed, and fails the test.
pub fn ended(command: &mut Command) -> Ended {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    end_of(&mut child);
    Ended::of(child.wait_with_output().unwrap())
}

fn end_of(child: &mut Child) -> ExitStatus {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if started.elapsed() >= PATIENCE {
            let _ = child.kill();
            panic!("process {} did not end", child.id());
        }
        std::thread::sleep(LOOK);
    }
}
