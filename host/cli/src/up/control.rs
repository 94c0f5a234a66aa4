//! The control socket: commands of the same binary, for a host that runs.
//!
//! One request a connection: a line of JSON in, a line of JSON out. The socket lies in the state folder with mode 0600, so that whoever
//! may write the state may operate the host, and nobody else.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_dataset::ContractDifference;
use tidegate_pipeline::{CleanedAgain, DroppedRows, Retried};
use tidegate_vocab::{Decision, Digest, LateLabel, PipelineId, PluginName, VersionNo};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::reload::{Attempt, SettingsAttempt};
use crate::compose::Room;
use crate::config::Config;
use crate::config::typed::Change;
use crate::failure::{Exit, Failure};

/// The socket's name in the state folder.
const SOCKET: &str = "control.sock";
/// Bytes of one request or answer.
const LINE_BYTES_MAX: u64 = 64 << 20;
/// How long a command waits for the host's answer: as long as one step of a pipeline may take.
const ANSWER_MS_MAX: u64 = 600_000;
/// Requests that are answered at once.
const REQUESTS_MAX: usize = 16;

/// What an operator asks of a running host.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "command")]
pub enum Command {
    /// Poll now.
    Ingest,
    /// Poll now, and start a run.
    Run {
        /// Even if no trigger is due.
        force: bool,
        /// Who asks.
        operator: String,
    },
    /// Make a version champion.
    Promote {
        /// Which.
        version: VersionNo,
        /// Why.
        reason: String,
        /// Who asks.
        operator: String,
    },
    /// Take the champion back.
    Rollback {
        /// To which version.
        version: Option<VersionNo>,
        /// Why.
        reason: String,
        /// Who asks.
        operator: String,
    },
    /// Make a model that was trained elsewhere champion.
    Import {
        /// The folder of its two files, as the host sees it.
        folder: PathBuf,
        /// Why.
        reason: String,
        /// Who asks.
        operator: String,
    },
    /// Take labels in.
    Labels {
        /// The labels.
        labels: Vec<LateLabel>,
    },
    /// Let quarantined rows in again.
    Readmit {
        /// Their numbers.
        rows: Vec<u64>,
        /// Why.
        reason: String,
        /// Who asks.
        operator: String,
    },
    /// Clean the quarantined rows again.
    CleanAgain,
    /// Forgive a plugin its strikes.
    Release {
        /// Which.
        plugin: PluginName,
        /// Why.
        reason: String,
        /// Who asks.
        operator: String,
    },
    /// Clean a batch again that was set aside; all, where none is named.
    RetryDeadLetters {
        /// Its number.
        number: Option<u64>,
    },
    /// Give the rows of a batch up that was set aside.
    DropDeadLetter {
        /// Its number.
        number: u64,
        /// Why.
        reason: String,
        /// Who asks.
        operator: String,
    },
    /// Accept the contract that is in force: a change of it needs a restart.
    AcceptContract {
        /// Why.
        reason: String,
        /// Who asks.
        operator: String,
    },
    /// Let go of what is old, over the budget, or garbage.
    Collect,
    /// Look at the plugin folder now.
    Reload {
        /// Only these plugins; several together or not at all.
        plugins: Vec<PluginName>,
        /// Let through what waits for an operator.
        accept: bool,
    },
    /// Look at the settings file now.
    ReloadSettings {
        /// Let through what waits for an operator.
        accept: bool,
    },
    /// Say which settings are in force.
    ShowSettings,
    /// Take a plugin back to the build before.
    TakeBack {
        /// Which.
        plugin: PluginName,
        /// Why.
        reason: String,
        /// Who asks.
        operator: String,
    },
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "answer")]
pub enum Answer {
    /// Rows were committed.
    Ingested {
        /// New ones.
        rows: u64,
        /// All.
        rows_total: u64,
    },
    /// A run is open now; `None` when none is due.
    Running {
        /// New rows.
        rows: u64,
        /// Its number, such as `run-7`.
        run: Option<String>,
        /// Why it was started.
        trigger: Option<String>,
    },
    /// The alias moved.
    Decided {
        /// The decision.
        decision: Box<Decision>,
    },
    /// Labels are kept.
    Labelled {
        /// New ones.
        added: u64,
        /// Those that were known.
        unchanged: u64,
    },
    /// Parts were cleaned again.
    CleanedAgain {
        /// What came of it.
        again: CleanedAgain,
    },
    /// A plugin may be called again.
    Released {
        /// Strikes that were forgiven.
        strikes: u32,
    },
    /// Batches were cleaned again, or not.
    Retried {
        /// What became of each.
        letters: Vec<Retried>,
    },
    /// Rows were given up.
    Dropped {
        /// Which.
        dropped: DroppedRows,
    },
    /// The contract is accepted.
    Accepted {
        /// What that changed.
        difference: ContractDifference,
    },
    /// What is not needed has gone.
    Collected {
        /// How much.
        room: Box<Room>,
    },
    /// Plugins were looked at.
    Reloaded {
        /// One entry a plugin that had changed.
        attempts: Vec<Attempt>,
    },
    /// The settings file was looked at.
    SettingsReloaded {
        /// What came of it; none where the settings in force are those of the file.
        attempt: Option<Box<SettingsAttempt>>,
    },
    /// These settings are in force.
    Settings {
        /// Their digest.
        digest: Digest,
        /// What the file says otherwise.
        differ: Vec<Change>,
        /// Why that is not in force, where it was tried.
        refused: Option<String>,
    },
    /// It could not be done.
    Failed {
        /// What went wrong.
        message: String,
        /// Why.
        causes: Vec<String>,
        /// The way out.
        hint: Option<String>,
        /// Whether the request made no sense.
        is_usage: bool,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Request {
    pipeline: PipelineId,
    #[serde(flatten)]
    command: Command,
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Answer {
        let (message, causes, hint) = failure.parts();
        Answer::Failed { message, causes, hint, is_usage: failure.exit == Exit::Usage }
    }
}

/// Asks the host that runs on the state folder of `config`; `None` when none does.
///
/// # Errors
/// What the host could not do, in its words; or that it did not answer.
pub async fn ask(config: &Config, pipeline: &PipelineId, command: Command) -> Result<Option<Answer>, Failure> {
    let path = config.store.folder.join(SOCKET);
    let Ok(stream) = UnixStream::connect(&path).await else { return Ok(None) };
    let lost = |error: std::io::Error| Failure::from(anyhow::Error::new(error).context("the running host did not answer"));
    let request = Request { pipeline: pipeline.clone(), command };
    let mut line = serde_json::to_vec(&request).map_err(|error| Failure::from(anyhow::Error::new(error)))?;
    line.push(b'\n');
    let (read, mut write) = stream.into_split();
    write.write_all(&line).await.map_err(lost)?;
    let mut answer = String::new();
    let reading = async { BufReader::new(read.take(LINE_BYTES_MAX)).read_line(&mut answer).await };
    match tokio::time::timeout(Duration::from_millis(ANSWER_MS_MAX), reading).await {
        Ok(read) => read.map_err(lost)?,
        Err(_) => return Err(lost(std::io::ErrorKind::TimedOut.into())),
    };
    let answer: Answer = serde_json::from_str(&answer)
        .map_err(|error| Failure::from(anyhow::Error::new(error).context("the running host did not answer; it may be stopping")))?;
    match answer {
        Answer::Failed { message, causes, hint, is_usage } => Err(Failure::told(message, causes, hint, is_usage)),
        answer => Ok(Some(answer)),
    }
}

/// The answer was to something else: a bug of the host, or a host of another version.
pub fn misunderstood() -> Failure {
    Failure::usage("the running host answered something else", "restart it with this version")
}

/// The socket of a running host. Removed when dropped.
pub struct Socket {
    path: PathBuf,
    listener: UnixListener,
}

impl Socket {
    /// Binds the socket in `folder`, whose lock this process holds: what lies there is left over from a process that was killed.
    ///
    /// # Errors
    /// A [`Failure`] when the folder does not allow it.
    pub fn bind(folder: &Path) -> Result<Socket, Failure> {
        let path = folder.join(SOCKET);
        let failed = |error: std::io::Error| {
            let text = format!("could not open the control socket `{}`", path.display());
            Failure::from(anyhow::Error::new(error).context(text))
        };
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&path).map_err(failed)?;
        // The folder is private already; the mode says so of the socket too.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(Socket { path: path.clone(), listener })
    }

    /// Answers requests with `execute` until dropped.
    pub async fn answer<F>(&self, execute: impl Fn(PipelineId, Command) -> F + Clone + Send + 'static)
    where
        F: Future<Output = Answer> + Send,
    {
        let slots = std::sync::Arc::new(tokio::sync::Semaphore::new(REQUESTS_MAX));
        loop {
            let Ok(slot) = std::sync::Arc::clone(&slots).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let execute = execute.clone();
                    tokio::spawn(async move {
                        if let Err(error) = answer_one(stream, execute).await {
                            tracing::debug!(%error, "control request broken off");
                        }
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "control socket");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn answer_one<F: Future<Output = Answer>>(stream: UnixStream, execute: impl Fn(PipelineId, Command) -> F) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    BufReader::new(read.take(LINE_BYTES_MAX)).read_line(&mut line).await?;
    let answer = match serde_json::from_str::<Request>(&line) {
        Ok(request) => execute(request.pipeline, request.command).await,
        Err(error) => {
            let hint = "the host and the command are of different versions, perhaps";
            Failure::usage(format!("the request is not understood: {error}"), hint).into()
        }
    };
    let mut line = serde_json::to_vec(&answer)?;
    line.push(b'\n');
    write.write_all(&line).await
}
