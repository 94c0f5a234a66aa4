//! Hot reload: a new build takes the place of the old one, or the old one stays and the reason is told. Settings go the same way.
//!
//! observe (a burst of changes is one) → policy (`plugins.lock`, builds that were taken back) → the same digest: nothing to do →
//! compile in a child process → check the world → configure and probe an instance for every place → try it beside the old one on the
//! newest real batches → swap, between two steps of each pipeline → probation: its first calls, or the old one is back. Nothing that
//! serves is touched before the swap, and versions that serve keep the components that their rows passed through.

mod attempt;
mod bursts;
mod probation;
mod settings;
mod settings_attempt;
mod taking;
mod transaction;
mod trial;

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_sandbox::Sandbox;
use tidegate_serve::Reload;
use tidegate_vocab::{Clock, Digest, PipelineId, PluginName};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use attempt::{Attempt, End, Phase};
pub use settings_attempt::{SettingsAttempt, SettingsStand};

use super::actor::{Message, Swap};
use super::board::PluginBook;
use crate::compose::Loaded;
use crate::compose::clock::SystemClock;
use crate::compose::kept::{Book, Kept};
use crate::compose::stands::{Registry, Stands};
use crate::compose::trust::TrustedKeys;
use crate::config::Config;
use crate::failure::Failure;
use bursts::Bursts;
use probation::{Probation, Standing, end_of};
use settings::SeenSettings;
use transaction::{Candidate, transact};
use trial::{aside, instances, spots_of, swap};

/// One pipeline as a reload sees it.
#[derive(Clone)]
pub struct Place {
    /// Its inbox.
    pub inbox: mpsc::Sender<Message>,
    /// The time that its plugins see.
    pub clock: Arc<dyn Clock>,
}

/// Replaces plugins, and the settings.
pub struct Reloader {
    /// The settings in force: everybody else reads them through receivers of this.
    settings: watch::Sender<Arc<Config>>,
    /// The only pipeline of the file that this host was started for, if there is one.
    only: Option<PipelineId>,
    sandbox: Sandbox,
    places: BTreeMap<PipelineId, Place>,
    /// What is known of plugins.
    pub book: Arc<PluginBook>,
    /// How the settings stand, for whoever shows it.
    stand: watch::Sender<SettingsStand>,
    kept: Kept,
    /// One reload at a time.
    seen: tokio::sync::Mutex<Seen>,
    stop: CancellationToken,
}

/// What is known of every plugin's builds.
struct Seen {
    plugins: BTreeMap<PluginName, InUse>,
    builds: Book,
    settings: SeenSettings,
}

/// What is known of one plugin's file.
struct InUse {
    loaded: Arc<Loaded>,
    /// The build that was in use before, for as long as the one in use is on probation.
    before: Option<Arc<Loaded>>,
    /// The digest that was refused or held last; it is tried again only when somebody asks. None stands for a file that could not be
    /// read, or must not be used.
    refused: Option<Option<Digest>>,
}

/// What an operator wants looked at.
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// Only these; several are replaced together or not at all.
    pub only: Vec<PluginName>,
    /// Builds that were refused before are tried once more.
    pub again: bool,
    /// What waits for an operator need not.
    pub accept: bool,
}

impl Reloader {
    /// A reloader of the plugins that are in use, and of `settings`, which it owns from here on.
    ///
    /// # Errors
    /// A [`Failure`] when what is in use cannot be kept.
    pub fn new(
        settings: watch::Sender<Arc<Config>>,
        only: Option<PipelineId>,
        sandbox: Sandbox,
        places: BTreeMap<PipelineId, Place>,
        in_use: Vec<Loaded>,
        stop: CancellationToken,
    ) -> Result<Reloader, Failure> {
        let (book, kept) = (Arc::new(PluginBook::default()), Kept::of(&settings.borrow()));
        let (mut builds, mut plugins) = (kept.book()?, BTreeMap::new());
        for loaded in in_use {
            let (name, digest) = (loaded.plugin.name().clone(), loaded.plugin.digest());
            kept.keep(digest, &loaded.component, loaded.signature.as_deref())?;
            builds.uses(&name, digest);
            book.in_use(&loaded.plugin);
            plugins.insert(name, InUse { loaded: Arc::new(loaded), before: None, refused: None });
        }
        kept.write(&builds)?;
        let seen = tokio::sync::Mutex::new(Seen { plugins, builds, settings: SeenSettings::default() });
        let stand = watch::Sender::new(SettingsStand::default());
        Ok(Reloader { settings, only, sandbox, places, book, stand, kept, seen, stop })
    }

    /// The settings in force.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.settings.borrow())
    }

    /// Follows the plugin folder until the host stops.
    pub async fn follow(self: Arc<Self>) {
        let config = self.config();
        // A folder that cannot be watched is looked at when somebody asks for it.
        let mut bursts = match Bursts::of(&config.plugins.folder, |_| true) {
            Ok(bursts) => bursts,
            Err(error) => {
                let folder = config.plugins.folder.display();
                tracing::warn!(%folder, %error, "the plugin folder cannot be watched; `tidegate plugin reload` looks at it");
                return;
            }
        };
        loop {
            // The first look is for what changed before anybody watched.
            self.look(Look::default()).await;
            tokio::select! {
                () = bursts.next() => {}
                () = self.stop.cancelled() => return,
            }
        }
    }

    /// Looks at what the name of every plugin in use stands for, or of those that were named; an attempt for each that changed.
    pub async fn look(self: &Arc<Self>, look: Look) -> Vec<Attempt> {
        let mut seen = self.seen.lock().await;
        let named = |name: &PluginName| look.only.is_empty() || look.only.contains(name);
        let names: Vec<PluginName> = seen.plugins.keys().filter(|name| named(name)).cloned().collect();
        let (mut attempts, mut candidates) = (Vec::new(), Vec::new());
        for (name, policy_s, read) in self.read(names).await {
            let Some(in_use) = seen.plugins.get_mut(&name) else { continue };
            let (old, seconds) = (in_use.loaded.plugin.digest(), vec![(Phase::Policy, policy_s)]);
            match read {
                // A file that is half written is looked at again when it changes again.
                Ok(Stands { component, .. }) if component.is_empty() => {}
                Ok(Stands { digest, .. }) if digest == old || (in_use.refused == Some(Some(digest)) && !look.again) => {}
                Ok(Stands { component, digest, signature, .. }) => {
                    candidates.push(Candidate { name, old: Arc::clone(&in_use.loaded), component, digest, signature, seconds });
                }
                Err(_) if in_use.refused == Some(None) && !look.again => {}
                Err(failure) => {
                    in_use.refused = Some(None);
                    let end = End::Refused { phase: Phase::Policy, why: failure.line() };
                    attempts.push(Attempt { plugin: name, from: old, to: None, end, seconds, differences: Vec::new() });
                }
            }
        }
        // Those that somebody names together stand or fall together; each file of a burst for itself.
        let groups: Vec<Vec<Candidate>> =
            if look.only.len() > 1 { vec![candidates] } else { candidates.into_iter().map(|candidate| vec![candidate]).collect() };
        for group in groups.into_iter().filter(|group| !group.is_empty()) {
            let outcome = transact(self, group, look.accept).await;
            self.take_note(&mut seen, &outcome.attempts);
            for (loaded, probation) in outcome.published {
                self.put_on_probation(&mut seen, loaded, probation);
            }
            attempts.extend(outcome.attempts);
        }
        attempts.iter().for_each(|attempt| self.tell(attempt));
        attempts
    }

    /// What each name stands for, and how many seconds it took to find out.
    async fn read(&self, names: Vec<PluginName>) -> Vec<(PluginName, f64, Result<Stands, Failure>)> {
        let (config, asked) = (self.config(), names.clone());
        let read = aside(move || {
            let registry = Registry::read(&config)?;
            let stands = |name: PluginName| {
                let start = Instant::now();
                let stands = registry.stands(&config, &name);
                (name, start.elapsed().as_secs_f64(), stands)
            };
            Ok(asked.into_iter().map(stands).collect())
        });
        // What stops all of them is told of each.
        let told = |failure: Failure| {
            let (message, causes, hint) = failure.parts();
            names.into_iter().map(|name| (name, 0.0, Err(Failure::told(message.clone(), causes.clone(), hint.clone(), true)))).collect()
        };
        read.await.unwrap_or_else(told)
    }

    fn take_note(&self, seen: &mut Seen, attempts: &[Attempt]) {
        for attempt in attempts {
            if let Some(in_use) = seen.plugins.get_mut(&attempt.plugin) {
                in_use.refused = (attempt.end != End::Replaced).then_some(attempt.to);
            }
        }
    }

    fn put_on_probation(self: &Arc<Self>, seen: &mut Seen, loaded: Arc<Loaded>, probation: Arc<Probation>) {
        let (name, digest) = (loaded.plugin.name().clone(), loaded.plugin.digest());
        self.book.in_use(&loaded.plugin);
        seen.builds.uses(&name, digest);
        self.write_down(seen, &loaded);
        if let Some(in_use) = seen.plugins.get_mut(&name) {
            in_use.before = Some(std::mem::replace(&mut in_use.loaded, loaded));
        }
        // The task holds no probation, so that it ends when the build is replaced before it has made its calls.
        let (reloader, standing) = (Arc::clone(self), probation.watch());
        drop(probation);
        tokio::spawn(async move {
            let end = tokio::select! {
                end = end_of(standing) => end,
                () = reloader.stop.cancelled() => return,
            };
            let failed = match end {
                None | Some(Standing::Open) => return,
                Some(Standing::Proven) => None,
                Some(Standing::Failed(why)) => Some(why),
            };
            reloader.end_probation(&name, digest, failed).await;
        });
    }

    /// What is in use is noted after the fact: a host that is killed in between finds the new file in the plugin folder.
    fn write_down(&self, seen: &Seen, loaded: &Loaded) {
        let kept = self.kept.keep(loaded.plugin.digest(), &loaded.component, loaded.signature.as_deref());
        let noted = kept.and_then(|()| self.kept.write(&seen.builds));
        if let Err(failure) = noted {
            tracing::error!(plugin = %loaded.plugin.name(), "its builds could not be noted: {}", failure.line());
        }
    }

    /// A build stood its probation, or is taken back. Nothing happens if another one is in use by now.
    async fn end_probation(&self, name: &PluginName, digest: Digest, failed: Option<String>) {
        let mut seen = self.seen.lock().await;
        let Some(in_use) = seen.plugins.get_mut(name).filter(|in_use| in_use.loaded.plugin.digest() == digest) else { return };
        let Some(old) = in_use.before.take() else { return };
        let end = match failed {
            None => End::Proven,
            Some(why) => match self.back_to(&mut seen, name, &old, &why).await {
                Ok(()) => End::TakenBack { why },
                Err(failure) => {
                    tracing::error!(plugin = %name, "it should be taken back, and cannot be: {}", failure.line());
                    return;
                }
            },
        };
        let (from, to) = if end == End::Proven { (old.plugin.digest(), digest) } else { (digest, old.plugin.digest()) };
        self.tell(&Attempt { plugin: name.clone(), from, to: Some(to), end, seconds: Vec::new(), differences: Vec::new() });
    }

    /// Puts `old` in the place of the build in use, which is not used again because its file is still there.
    async fn back_to(&self, seen: &mut Seen, name: &PluginName, old: &Arc<Loaded>, why: &str) -> Result<(), Failure> {
        // It has stood its own probation, or was there at the start.
        let config = self.config();
        for (pipeline, plugins) in instances(self, &config, old, &spots_of(&config, name), &Probation::resting()).await? {
            swap(self, &pipeline, Swap { plugins, under: None }).await?;
        }
        seen.builds.takes_back(name, why, old.plugin.digest());
        self.write_down(seen, old);
        self.book.in_use(&old.plugin);
        if let Some(in_use) = seen.plugins.get_mut(name) {
            in_use.refused = Some(Some(in_use.loaded.plugin.digest()));
            in_use.loaded = Arc::clone(old);
        }
        Ok(())
    }

    /// Takes the build in use back because an operator says so.
    ///
    /// # Errors
    /// A [`Failure`] when the plugin is not in use, or no build before this one is kept or starts.
    pub async fn take_back(&self, name: &PluginName, why: &str) -> Result<Attempt, Failure> {
        let mut seen = self.seen.lock().await;
        let Some(in_use) = seen.plugins.get_mut(name) else {
            return Err(Failure::usage(format!("no pipeline uses the plugin `{name}`"), "`tidegate plugin list` shows them"));
        };
        let from = in_use.loaded.plugin.digest();
        let old = match in_use.before.take() {
            Some(old) => old,
            None => Arc::new(self.before(&seen.builds, name).await?),
        };
        self.back_to(&mut seen, name, &old, why).await?;
        let end = End::TakenBack { why: why.to_owned() };
        let to = Some(old.plugin.digest());
        let attempt = Attempt { plugin: name.clone(), from, to, end, seconds: Vec::new(), differences: Vec::new() };
        self.tell(&attempt);
        Ok(attempt)
    }

    /// The newest kept build before the one in use.
    async fn before(&self, builds: &Book, name: &PluginName) -> Result<Loaded, Failure> {
        let before = builds.of(name).map(|builds| builds.before.clone()).unwrap_or_default();
        for digest in before {
            if let Some(component) = self.kept.component(digest)? {
                let signature = self.kept.signature(digest)?;
                TrustedKeys::read(&self.config())?.check(name, &component, signature.as_deref(), &self.kept.signature_path(digest))?;
                let (sandbox, name) = (self.sandbox.clone(), name.clone());
                let load = move || Ok(Loaded { signature, ..crate::compose::load_component(&sandbox, &name, component)? });
                return aside(load).await;
            }
        }
        Err(Failure::usage(format!("no build of `{name}` before the one in use is kept"), "put the file you want into the plugin folder"))
    }

    fn tell(&self, attempt: &Attempt) {
        let (name, line) = (&attempt.plugin, attempt.line());
        match attempt.end {
            End::Replaced | End::Proven => tracing::info!(plugin = %name, "{line}"),
            End::Refused { .. } | End::Held { .. } | End::TakenBack { .. } => tracing::warn!(plugin = %name, "{line}"),
        }
        let config = self.config();
        let users = config.pipelines.iter().filter(|pipeline| pipeline.plugins().any(|(_, used)| used.plugin == *name));
        self.note(users.map(|pipeline| &pipeline.id), "plugin", &attempt.body());
        let differences = attempt.differences.iter().map(crate::shadow::Difference::sentence).collect();
        self.book.attempt(
            name,
            Reload {
                at: SystemClock.now(),
                digest: attempt.to.map(|digest| digest.to_string()),
                result: attempt.end.word().to_owned(),
                refused: attempt.end.why().map(str::to_owned),
                differences,
            },
        );
        metrics::counter!("tidegate_plugin_reloads_total", "plugin" => name.to_string(), "result" => attempt.end.word()).increment(1);
        for (phase, seconds) in &attempt.seconds {
            let labels = [("plugin", name.to_string()), ("phase", phase.word().to_owned())];
            metrics::gauge!("tidegate_plugin_reload_seconds", &labels).set(*seconds);
        }
    }

    /// Lets the journals of `pipelines` tell something.
    fn note<'a>(&self, pipelines: impl Iterator<Item = &'a PipelineId>, kind: &'static str, body: &serde_json::Value) {
        for place in pipelines.filter_map(|pipeline| self.places.get(pipeline)) {
            // An actor whose inbox is full tells the log at least.
            let _ = place.inbox.try_send(Message::Note(kind, body.clone()));
        }
    }
}
