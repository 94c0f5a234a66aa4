//! The metrics of a running host, as the real Prometheus and its own linter read them.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::client::Client;
use crate::harbour::{arrive, ask, labels, minutes, settings};
use crate::host::World;
use crate::rows::Rows;
use crate::service::{Service, wait};

/// The programs that `cargo xtask test` found or fetched.
fn program(variable: &str) -> PathBuf {
    let path = std::env::var_os(variable).map(PathBuf::from);
    path.unwrap_or_else(|| panic!("`{variable}` names no program; `cargo xtask test` fetches it and sets the variable"))
}

/// A host that has taken rows, labels and requests, so that every family has a series.
fn host(world: &World) -> Service {
    let first = minutes(Rows { first_day: 0, count: 100, seed: 1, noise: 0.1, flipped: false });
    arrive(world, &first);
    let service = Service::start(world);
    service.until("harbour", "the rows are in", |pipeline| pipeline["rows"] == 100);
    let mut labeller = Client::with_token(service.address(), &service.token("label").unwrap());
    assert_eq!(labeller.post("/v1/labels", &labels(&first)).status, 200);
    assert_eq!(ask(&mut service.client(), &first[..1]).status, 503);
    service
}

#[test]
fn promtool_finds_nothing_to_say() {
    let world = World::new(&settings());
    let service = host(&world);
    let metrics = service.client().get("/metrics").body;
    let mut promtool = Command::new(program("TIDEGATE_PROMTOOL"));
    let mut linter =
        promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    linter.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let linted = linter.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&linted.stdout).into_owned() + &String::from_utf8_lossy(&linted.stderr);
    assert!(linted.status.success() && said.is_empty(), "{said}\n{metrics}");
    for family in ["tidegate_rows_total", "tidegate_labels_total", "tidegate_plugin_calls_total", "tidegate_inference_requests_total"] {
        assert!(metrics.contains(&format!("# HELP {family} ")), "{family} is not explained:\n{metrics}");
    }
    service.stop();
}

#[test]
fn a_prometheus_scrapes_the_host() {
    let world = World::new(&settings());
    let service = host(&world);
    let prometheus = Prometheus::start(&world, service.address().port());
    let rows = wait("Prometheus has scraped the host", || prometheus.value(r#"tidegate_rows_total{pipeline="harbour"}"#));
    assert_eq!(rows, "100");
    assert_eq!(prometheus.value("up{job=\"tidegate\"}").as_deref(), Some("1"));
    assert_eq!(prometheus.value("tidegate_labels_total").as_deref(), Some("100"));
    // What is scraped later is what is true then.
    arrive(&world, &minutes(Rows { first_day: 100, count: 20, seed: 1, noise: 0.1, flipped: false }));
    wait("the new rows are scraped", || prometheus.value("tidegate_rows_total").filter(|rows| rows == "120"));
    drop(prometheus);
    service.stop();
}

/// A Prometheus on a free port; it stops when dropped.
struct Prometheus {
    child: Child,
    port: u16,
}

impl Prometheus {
    fn start(world: &World, scraped: u16) -> Prometheus {
        let settings = format!(
            "global: {{ scrape_interval: 200ms, scrape_timeout: 200ms }}\nscrape_configs:\n  - job_name: tidegate\n    static_configs: [{{ targets: [\"127.0.0.1:{scraped}\"] }}]\n"
        );
        world.write("prometheus.yml", settings);
        // The port is free when it is looked for; that nobody takes it in between is likely enough on a loopback.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(program("TIDEGATE_PROMETHEUS"));
        command.current_dir(world.folder()).arg("--config.file=prometheus.yml").arg("--storage.tsdb.path=tsdb");
        command.arg(format!("--web.listen-address=127.0.0.1:{port}")).stdout(Stdio::null()).stderr(Stdio::null());
        Prometheus { child: command.spawn().unwrap(), port }
    }

    /// The value of the first series of a query; none while there is none.
    fn value(&self, query: &str) -> Option<String> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let mut client = Client::new(([127, 0, 0, 1], self.port).into());
        let reply = client.send("GET", &format!("/api/v1/query?query={encoded}"), "").ok()?;
        let found: Value = serde_json::from_str(&reply.body).ok()?;
        found["data"]["result"][0]["value"][1].as_str().map(str::to_owned)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
