//! Serves the status page over a scripted state, to look at it while it is worked on: `cargo run -p tidegate-serve --example page`.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "an example: it prints its address and stops at the first error")]

#[path = "../tests/it/harness.rs"]
#[expect(dead_code, reason = "the example needs the server of the tests and not its client")]
mod harness;
#[path = "../tests/it/samples.rs"]
mod samples;

use std::time::Duration;

use tidegate_serve::{Node, Status};

/// Time between two steps of the loop.
const STEP: Duration = Duration::from_secs(3);
const STEPS: [(Node, &str); 5] = [
    (Node::Source, "waits for rows; `csv` is asked again in 2 s"),
    (Node::Cleaners, "cleans 50 rows with `missing` and `range`"),
    (Node::Monitor, "compares 48 labels with what was answered, and asks the triggers"),
    (Node::Train, "trains v5 on 6,000 rows, epoch 12 of 30"),
    (Node::Gate, "waits for 84 more labelled rows before it looks at v4 again"),
];

#[tokio::main]
async fn main() {
    let host = harness::host().await;
    println!("http://{}/", host.address);
    let mut period = tokio::time::interval(STEP);
    let steps = std::env::args().all(|argument| argument != "--still");
    for (round, (node, doing)) in STEPS.iter().cycle().enumerate() {
        period.tick().await;
        if steps {
            step(&mut host.views.status.lock().unwrap(), *node, doing, round as u64);
            host.changes.send_modify(|count| *count += 1);
        }
    }
}

fn step(status: &mut Status, node: Node, doing: &str, round: u64) {
    let pipeline = &mut status.pipelines[0];
    (pipeline.at, pipeline.doing) = (node, doing.into());
    pipeline.predictions += 7;
    pipeline.rows += if node == Node::Cleaners { 50 } else { 0 };
    if let Some(run) = &mut pipeline.run {
        run.progress = (node == Node::Train).then(|| (round % 30) as f64 / 30.0);
    }
}
