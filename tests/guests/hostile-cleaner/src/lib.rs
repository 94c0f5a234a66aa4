//! A cleaner that misbehaves in the one way that its configuration names; `behave` leaves the rows as they are.

use std::hint::black_box;

use serde::Deserialize;
use tidegate_plugin::{Batch, Cleaner, Edit, Failure, Issues, Values, log};

/// What one allocation of the mode that never stops allocating takes.
const ALLOCATION_BYTES: usize = 16 << 20;
/// Length of an error text that nobody wants to read.
const ERROR_BYTES: usize = 8 << 20;
/// Lines of the flood, and the length of each.
const FLOOD_LINES: u32 = 20_000;
const FLOOD_LINE_BYTES: usize = 5_000;

/// The configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What it does.
    pub mode: Mode,
    /// Does so only to rows with a feature above this; others it leaves alone.
    #[serde(default)]
    pub above: Option<f64>,
}

/// What it does when it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Leaves the rows alone.
    Behave,
    /// Never returns.
    Spin,
    /// Takes memory until there is none.
    Allocate,
    /// Calls itself until the stack ends.
    Recurse,
    /// Executes `unreachable`.
    Trap,
    /// Panics with a message.
    Panic,
    /// Fails with an error text of megabytes.
    HugeError,
    /// Fails with an error text that would repaint the terminal and forge a line.
    ForgedError,
    /// Writes more values than there are rows.
    TooManyValues,
    /// Quarantines under a reason that the manifest does not list.
    UnlistedReason,
    /// Quarantines every row.
    DropAll,
    /// Logs without end, and leaves the rows alone.
    FloodLog,
    /// Prints without end, and leaves the rows alone.
    FloodOutput,
    /// Ends the process, or what it takes for one.
    Exit,
    /// Sleeps for an hour.
    Sleep,
    /// Makes a tiny call of the host, again and again.
    Nag,
    /// Makes every value of the first feature NaN.
    AllMissing,
    /// Fails with what it found outside: files, variables, the network.
    LookAround,
}

/// The plugin.
pub struct Hostile {
    mode: Mode,
    above: Option<f64>,
}

tidegate_plugin::export!(Hostile, cleaner);

impl Cleaner for Hostile {
    type Config = Config;

    fn configure(config: Config) -> Result<Hostile, Issues> {
        Ok(Hostile { mode: config.mode, above: config.above })
    }

    fn clean(&self, rows: &Batch, edit: &Edit) -> Result<(), Failure> {
        if let Some(above) = self.above
            && !is_above(rows, above)?
        {
            return Ok(());
        }
        match self.mode {
            Mode::Behave => Ok(()),
            Mode::Spin => loop {
                black_box(());
            },
            Mode::Allocate => {
                let mut kept: Vec<Vec<u8>> = Vec::new();
                loop {
                    kept.push(black_box(vec![1; ALLOCATION_BYTES]));
                }
            }
            Mode::Recurse => Err(Failure::new(format!("the stack held {} calls", deeper(1)))),
            Mode::Trap => trap(),
            Mode::Panic => panic!("the rows are not to my taste"),
            Mode::HugeError => Err(Failure::new("no ".repeat(ERROR_BYTES / 3))),
            Mode::ForgedError => Err(Failure::new("bad row\u{1b}[2J\r\nerror: the disk is full\u{7}")),
            Mode::TooManyValues => {
                let column = first_feature(rows)?;
                edit.write_f64(&column, &Values::from(vec![0.0; rows.row_count() as usize + 1]))
            }
            Mode::UnlistedReason => edit.keep(rows, &vec![false; rows.row_count() as usize], "because"),
            Mode::DropAll => edit.keep(rows, &vec![false; rows.row_count() as usize], "listed"),
            Mode::FloodLog => {
                let line = "spam ".repeat(FLOOD_LINE_BYTES / 5);
                (0..FLOOD_LINES).for_each(|number| log::warn!("{number} {line}"));
                Ok(())
            }
            Mode::FloodOutput => {
                let line = "spam ".repeat(FLOOD_LINE_BYTES / 5);
                (0..FLOOD_LINES / 10).for_each(|number| println!("{number} {line}"));
                Ok(())
            }
            Mode::Exit => std::process::exit(3),
            Mode::Sleep => {
                std::thread::sleep(std::time::Duration::from_secs(3_600));
                Ok(())
            }
            Mode::Nag => loop {
                log::trace!("are we there yet");
            },
            Mode::AllMissing => {
                let column = first_feature(rows)?;
                edit.write_f64(&column, &Values::from(vec![f64::NAN; rows.row_count() as usize]))
            }
            Mode::LookAround => Err(look_around()),
        }
    }
}

/// Whether any feature has a value above a bound.
fn is_above(rows: &Batch, bound: f64) -> Result<bool, Failure> {
    for column in rows.columns().filter(|column| column.role() == "feature" && column.dtype() == "f64") {
        if column.f64()?.iter().flatten().any(|value| value > bound) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn first_feature<'rows>(rows: &'rows Batch<'rows>) -> Result<tidegate_plugin::Column<'rows>, Failure> {
    let feature = rows.columns().find(|column| column.role() == "feature" && column.dtype() == "f64");
    feature.ok_or_else(|| Failure::new("there is no f64 feature"))
}

/// What a program finds when it opens its eyes; nothing, it is hoped.
#[expect(clippy::disallowed_methods, reason = "that it fails is what is tried")]
fn look_around() -> Failure {
    let files = std::fs::read("/etc/passwd").map_or_else(|error| error.kind().to_string(), |bytes| format!("{} bytes", bytes.len()));
    let here = std::fs::read_dir(".").map_or_else(|error| error.kind().to_string(), |entries| format!("{} files", entries.count()));
    let connection = std::net::TcpStream::connect("127.0.0.1:80").map_or_else(|error| error.kind().to_string(), |_| "connected".into());
    let threads = std::thread::Builder::new().spawn(|| ()).map_or_else(|error| error.kind().to_string(), |_| "spawned".into());
    let (variables, arguments) = (std::env::vars().count(), std::env::args().count());
    let years = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs() / (365 * 24 * 3_600));
    Failure::new(format!(
        "file: {files}; folder: {here}; connection: {connection}; thread: {threads}; {variables} variables, {arguments} arguments, {years} years since 1970"
    ))
}

/// Never inlined, and with something on the stack that the optimiser must keep.
#[inline(never)]
fn deeper(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    if depth == u64::MAX { frame[0] } else { deeper(depth + 1) + frame[63] }
}

/// Never inlined, so that a backtrace has a name to show.
#[cfg(target_family = "wasm")]
#[inline(never)]
fn trap() -> ! {
    std::arch::wasm32::unreachable()
}

#[cfg(not(target_family = "wasm"))]
fn trap() -> ! {
    std::process::abort()
}
