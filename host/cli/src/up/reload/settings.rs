//! Reload of the settings: what the file says now takes the place of what runs, or what runs stays and the reason is told.
//!
//! observe → check the whole file → what differs, key by key → policy (the lock and signatures under the new settings, what is lent
//! beyond what was) → the steps of every reload for the plugins that are used otherwise → swap, with all that a pipeline is told of
//! its settings → probation: the plugins' first calls, or the old settings are back. Keys that need a restart stay as they were, and
//! are named.

use std::path::Path;
use std::sync::Arc;

use tidegate_serve::Reload;
use tidegate_vocab::{Clock as _, Digest, PipelineId, PluginName};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::attempt::{End, Phase};
use super::bursts::Bursts;
use super::probation::{Probation, Standing, end_of};
use super::settings_attempt::{SettingsAttempt, SettingsStand};
use super::taking::Taking;
use super::trial::{Trial, aside};
use super::{Look, Reloader, Seen};
use crate::compose::clock::SystemClock;
use crate::config::live::When;
use crate::config::typed::Change;
use crate::config::{Config, File};
use crate::failure::Failure;
use crate::up::control::Answer;

/// Attempts that are remembered.
const ATTEMPTS_MAX: usize = 20;

/// What is remembered between two looks at the file.
#[derive(Default)]
pub struct SeenSettings {
    /// The file that was refused, held or taken back last, by the digest of its text; it is tried again only when somebody asks. None
    /// stands for a file that could not be read.
    refused: Option<Option<Digest>>,
    /// The keys that were told to need a restart.
    waiting: Vec<Change>,
    /// What was in force before, while what is in force is on probation.
    before: Option<Arc<Config>>,
    /// Counts what was put in force, so that a probation that ends late does not end another.
    round: u64,
}

/// The file as it lies there.
struct Found {
    /// The digest of its text; none where it could not be read.
    text: Option<Digest>,
    /// It may be half written.
    is_empty: bool,
    config: Result<Config, Failure>,
}

impl Found {
    fn read(path: &Path, only: Option<&PipelineId>) -> Found {
        let file = match File::read(path) {
            Ok(file) => file,
            Err(error) => return Found { text: None, is_empty: false, config: Err(error.into()) },
        };
        let (text, is_empty) = (Some(Digest::of(&file.text)), file.text.trim().is_empty());
        let checked = file.check().and_then(|config| config.check_files().map(|()| config));
        let config = checked.map_err(Failure::from).and_then(|mut config| {
            if let Some(only) = only {
                config.pipeline(Some(only.as_str()))?;
                config.retain(only);
            }
            Ok(config)
        });
        Found { text, is_empty, config }
    }
}

/// What a running host makes of `changes`: what it takes up, and what needs a restart. What it has no use for is left out.
fn parted(changes: Vec<Change>) -> (Vec<Change>, Vec<Change>) {
    let of_use = changes.into_iter().filter(|change| change.when != When::Elsewhere);
    of_use.partition(|change| change.when != When::Restart)
}

impl Reloader {
    /// Follows the settings file until the host stops.
    pub async fn follow_settings(self: Arc<Self>) {
        let path = self.config().file.path.clone();
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = path.file_name().map(ToOwned::to_owned);
        // A folder whose files are swapped all at once does it by a link whose name begins with two dots.
        let concerns = move |path: &Path| {
            path.file_name() == name.as_deref() || path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".."))
        };
        let mut bursts = match Bursts::of(folder, concerns) {
            Ok(bursts) => bursts,
            Err(error) => {
                let path = path.display();
                tracing::warn!(%path, %error, "the settings file cannot be watched; `tidegate reload` looks at it");
                return;
            }
        };
        loop {
            // The first look is for what changed before anybody watched.
            self.look_at_settings(&Look::default()).await;
            tokio::select! {
                () = bursts.next() => {}
                () = self.stop.cancelled() => return,
            }
        }
    }

    /// How the settings stand, for whoever shows it.
    pub fn stand(&self) -> watch::Receiver<SettingsStand> {
        self.stand.subscribe()
    }

    /// What is in force, and what the file that lies there says otherwise.
    pub async fn show_settings(&self) -> Answer {
        let running = self.config();
        let differ = self.find(&running).await.config.map(|file| running.changes(&file));
        let refused = self.stand.borrow().refused.clone();
        match differ {
            Ok(differ) => Answer::Settings { digest: running.digest(), differ, refused },
            Err(failure) => failure.into(),
        }
    }

    async fn find(&self, running: &Config) -> Found {
        let (path, only) = (running.file.path.clone(), self.only.clone());
        let found = aside(move || Ok(Found::read(&path, only.as_ref()))).await;
        found.unwrap_or_else(|failure| Found { text: None, is_empty: false, config: Err(failure) })
    }

    /// Looks at the settings file, and takes up what it says. `None` where there is nothing new to say of it.
    pub async fn look_at_settings(self: &Arc<Self>, look: &Look) -> Option<SettingsAttempt> {
        let mut seen = self.seen.lock().await;
        let (start, running) = (Instant::now(), self.config());
        let found = self.find(&running).await;
        let mut attempt = SettingsAttempt::new(running.digest());
        let (file, was_refused) = (found.config, seen.settings.refused == Some(found.text));
        let file = match file {
            Ok(file) => file,
            // A file that is half written is looked at again when it changes again; one that is wrong is told of once.
            Err(_) if (found.is_empty || was_refused) && !look.again => return None,
            Err(failure) => {
                attempt.end = End::Refused { phase: Phase::Policy, why: failure.placed_line() };
                return Some(self.ended(&mut seen, attempt, found.text));
            }
        };
        (attempt.changes, attempt.waiting) = parted(running.changes(&file));
        if attempt.changes.is_empty() && attempt.waiting.is_empty() {
            // What was refused before is gone from the file.
            (seen.settings.refused, seen.settings.waiting) = (None, Vec::new());
            self.stand.send_modify(|stand| (stand.refused, stand.waiting) = (None, Vec::new()));
            return None;
        }
        let is_known = attempt.changes.is_empty() && attempt.waiting == seen.settings.waiting && seen.settings.refused.is_none();
        if (is_known || was_refused) && !look.again {
            return None;
        }
        let new = Arc::new(running.adopting(&file));
        attempt.to = Some(new.digest());
        attempt.seconds.push((Phase::Policy, start.elapsed().as_secs_f64()));
        let plugins = seen.plugins.values().map(|in_use| Arc::clone(&in_use.loaded)).collect();
        let trial = Trial { reloader: self, old: Arc::clone(&running), new: Arc::clone(&new), accept: look.accept };
        let taken = Taking { trial: &trial, file: Arc::new(file), plugins }.carry_out(&mut attempt).await;
        drop(trial);
        match taken {
            Ok(_) if attempt.changes.is_empty() => {}
            Ok(probations) => {
                self.settings.send_replace(new);
                self.put_settings_on_probation(&mut seen, running, probations);
            }
            Err(end) => attempt.end = end,
        }
        Some(self.ended(&mut seen, attempt, found.text))
    }

    /// Remembers how an attempt ended, and tells it.
    fn ended(&self, seen: &mut Seen, attempt: SettingsAttempt, text: Option<Digest>) -> SettingsAttempt {
        seen.settings.refused = attempt.end.why().map(|_| text);
        seen.settings.waiting = attempt.waiting.clone();
        let (line, result) = (attempt.line(), attempt.word());
        match attempt.end {
            End::Replaced | End::Proven => tracing::info!("{line}"),
            End::Refused { .. } | End::Held { .. } | End::TakenBack { .. } => tracing::warn!("{line}"),
        }
        self.note(self.places.keys(), "settings", &attempt.body());
        metrics::counter!("tidegate_settings_reloads_total", "result" => result).increment(1);
        self.stand.send_modify(|stand| {
            stand.waiting.clone_from(&attempt.waiting);
            stand.refused = attempt.end.why().map(str::to_owned);
            stand.attempts.insert(
                0,
                Reload {
                    at: SystemClock.now(),
                    digest: attempt.to.map(|digest| digest.to_string()),
                    result: result.to_owned(),
                    refused: stand.refused.clone(),
                    differences: attempt.told_changes(),
                },
            );
            stand.attempts.truncate(ATTEMPTS_MAX);
        });
        attempt
    }

    fn put_settings_on_probation(self: &Arc<Self>, seen: &mut Seen, before: Arc<Config>, probations: Vec<(PluginName, Arc<Probation>)>) {
        seen.settings.round += 1;
        seen.settings.before = (!probations.is_empty()).then_some(before);
        let (reloader, round) = (Arc::clone(self), seen.settings.round);
        let mut standings = JoinSet::new();
        for (plugin, probation) in probations {
            // Only the standing is kept: a plugin that is replaced meanwhile ends its probation without a result.
            let standing = probation.watch();
            standings.spawn(async move { (plugin, end_of(standing).await) });
        }
        if standings.is_empty() {
            return;
        }
        tokio::spawn(async move {
            let failed = async {
                while let Some(ended) = standings.join_next().await {
                    if let Ok((plugin, Some(Standing::Failed(why)))) = ended {
                        return Some(format!("`{plugin}`: {why}"));
                    }
                }
                None
            };
            let failed = tokio::select! {
                failed = failed => failed,
                () = reloader.stop.cancelled() => return,
            };
            reloader.end_settings_probation(round, failed).await;
        });
    }

    /// Settings stood their probation, or are taken back. Nothing happens if others are in force by now.
    async fn end_settings_probation(&self, round: u64, failed: Option<String>) {
        let mut seen = self.seen.lock().await;
        if seen.settings.round != round {
            return;
        }
        let Some(before) = seen.settings.before.take() else { return };
        let (running, mut attempt) = (self.config(), SettingsAttempt::new(before.digest()));
        attempt.waiting = seen.settings.waiting.clone();
        let Some(why) = failed else {
            (attempt.to, attempt.end) = (Some(running.digest()), End::Proven);
            self.ended(&mut seen, attempt, None);
            return;
        };
        let plugins = seen.plugins.values().map(|in_use| Arc::clone(&in_use.loaded)).collect();
        let trial = Trial { reloader: self, old: Arc::clone(&running), new: Arc::clone(&before), accept: true };
        let back = Taking { trial: &trial, file: Arc::clone(&before), plugins }.go_back().await;
        drop(trial);
        if let Err(end) = back {
            tracing::error!("settings should be taken back, and cannot be: {}", end.why().unwrap_or_default());
            return;
        }
        (attempt.from, attempt.to) = (running.digest(), Some(before.digest()));
        (attempt.changes, _) = parted(before.changes(&running));
        attempt.end = End::TakenBack { why };
        self.settings.send_replace(before);
        self.ended(&mut seen, attempt, Some(Digest::of(&running.file.text)));
    }
}
