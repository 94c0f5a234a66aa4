//! One slot for an instance of a plugin, behind every handle.
//!
//! Invariant: a call runs under a deadline, on an instance that has been configured and probed; an instance whose call did not
//! end well is dropped at once, and the next call gets a fresh one.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tidegate_vocab::PluginName;
use wasmtime::{Store, UpdateDeadline};

use crate::bindings::shared::failures::Failure as GuestFailure;
use crate::bindings::{alerter, cleaner, evaluator, source};
use crate::call::{CallError, ConfigIssue, Failure, classify, quoted};
use crate::grants::PluginSettings;
use crate::host::HostState;
use crate::last_words::{self, LastWords};
use crate::limiter::LimitHit;
use crate::load::{Linked, Plugin};
use crate::manifest::{Manifest, PluginKind, StateKind};
use crate::telemetry::{CallCost, Telemetry};
use crate::ticker::monotonic_now;

/// Faults of a configuration that a plugin may list.
const ISSUES_MAX: usize = 32;

/// The calls of one world that all worlds have.
pub(crate) trait World: Sized {
    const KIND: PluginKind;
    fn instantiate(linked: &Linked, store: &mut Store<HostState>) -> wasmtime::Result<Self>;
    fn configure(&self, store: &mut Store<HostState>, config: &str) -> wasmtime::Result<Result<(), Vec<(String, String)>>>;
    fn probe(&self, store: &mut Store<HostState>) -> wasmtime::Result<Result<(), GuestFailure>>;
}

macro_rules! world {
    ($world:ty, $kind:ident) => {
        impl World for $world {
            const KIND: PluginKind = PluginKind::$kind;

            fn instantiate(linked: &Linked, store: &mut Store<HostState>) -> wasmtime::Result<Self> {
                match linked {
                    Linked::$kind(pre) => pre.instantiate(store),
                    _ => wasmtime::bail!("the plugin is of another kind"),
                }
            }

            fn configure(&self, store: &mut Store<HostState>, config: &str) -> wasmtime::Result<Result<(), Vec<(String, String)>>> {
                let result = self.tidegate_plugin_lifecycle().call_configure(store, config)?;
                Ok(result.map_err(|issues| issues.into_iter().map(|issue| (issue.pointer, issue.message)).collect()))
            }

            fn probe(&self, store: &mut Store<HostState>) -> wasmtime::Result<Result<(), GuestFailure>> {
                self.tidegate_plugin_lifecycle().call_probe(store)
            }
        }
    };
}

world!(source::SourcePlugin, Source);
world!(cleaner::CleanerPlugin, Cleaner);
world!(evaluator::EvaluatorPlugin, Evaluator);
world!(alerter::AlerterPlugin, Alerter);

/// How a call ends when the guest ran to its end and there is no result.
pub(crate) enum Breach {
    /// The guest refused.
    Refused(GuestFailure),
    /// It refused its configuration.
    Issues(Vec<(String, String)>),
    /// It returned what the interface does not allow.
    Misfit { wants: String, offers: String },
}

impl From<GuestFailure> for Breach {
    fn from(failure: GuestFailure) -> Breach {
        Breach::Refused(failure)
    }
}

/// A handle's instance, or room for one.
pub(crate) struct Slot<W> {
    plugin: Plugin,
    settings: PluginSettings,
    config: String,
    live: Option<Live<W>>,
    last_words: LastWords,
    telemetry: Telemetry,
    /// Time in the guest and calls out of it, of the last call.
    in_guest: (Duration, u64),
}

struct Live<W> {
    store: Store<HostState>,
    guest: W,
}

impl<W: World> Slot<W> {
    /// A slot with an instance that has been configured and probed.
    pub(crate) fn new(plugin: &Plugin, settings: &PluginSettings) -> Result<Slot<W>, CallError> {
        if plugin.kind() != W::KIND {
            let (wants, offers) = (W::KIND.word().to_owned(), plugin.kind().word().to_owned());
            return Err(CallError::Incompatible { plugin: plugin.name().clone(), step: "instantiate", wants, offers });
        }
        plugin.check_config(&settings.config)?;
        let config = settings.config.to_string();
        let (last_words, telemetry) = (LastWords::default(), Telemetry::new(plugin.name()));
        let (plugin, settings, in_guest) = (plugin.clone(), settings.clone(), Default::default());
        let mut slot = Slot { plugin, settings, config, live: None, last_words, telemetry, in_guest };
        slot.live = Some(slot.start()?);
        Ok(slot)
    }

    pub(crate) fn name(&self) -> &PluginName {
        self.plugin.name()
    }

    pub(crate) fn manifest(&self) -> &Manifest {
        self.plugin.manifest()
    }

    pub(crate) fn settings(&self) -> &PluginSettings {
        &self.settings
    }

    /// What the guest left behind in the last call that ended badly.
    pub(crate) fn last_words(&self) -> &LastWords {
        &self.last_words
    }

    pub(crate) fn is_live(&self) -> bool {
        self.live.is_some()
    }

    /// Drops the instance; the next call gets a fresh one.
    pub(crate) fn reset(&mut self) {
        self.live = None;
    }

    /// Calls the guest. The instance stays when `with` gives a result, and goes when it does not.
    pub(crate) fn call<T>(
        &mut self,
        step: &'static str,
        with: impl FnOnce(&mut Store<HostState>, &W) -> wasmtime::Result<Result<T, Breach>>,
    ) -> Result<T, CallError> {
        let started = monotonic_now();
        let span = self.telemetry.span(step);
        let result = span.in_scope(|| self.call_once(step, with));
        let memory_bytes = self.live.as_ref().map_or(0, |live| live.store.data().limiter.held_bytes());
        let (guest, host_calls) = std::mem::take(&mut self.in_guest);
        self.telemetry.call(step, &result, &CallCost { whole: started.elapsed(), guest, host_calls, memory_bytes }, &span);
        result
    }

    fn call_once<T>(
        &mut self,
        step: &'static str,
        with: impl FnOnce(&mut Store<HostState>, &W) -> wasmtime::Result<Result<T, Breach>>,
    ) -> Result<T, CallError> {
        let mut live = match self.live.take() {
            Some(live) => live,
            None => self.start()?,
        };
        let guest = &live.guest;
        let result = self.bounded(step, &mut live.store, |store| with(store, guest))?;
        self.live = Some(live);
        Ok(result)
    }

    /// A fresh instance, configured and probed.
    fn start(&mut self) -> Result<Live<W>, CallError> {
        self.telemetry.instance();
        let (mut store, guest) = self.instantiate()?;
        let config = self.config.clone();
        self.bounded("configure", &mut store, |store| Ok(guest.configure(store, &config)?.map_err(Breach::Issues)))?;
        self.bounded("probe", &mut store, |store| Ok(guest.probe(store)?.map_err(Breach::from)))?;
        Ok(Live { store, guest })
    }

    fn instantiate(&mut self) -> Result<(Store<HostState>, W), CallError> {
        let mut store = new_store(&self.plugin, &self.settings).map_err(|hit| CallError::OverLimit {
            plugin: self.name().clone(),
            step: "instantiate",
            limit: hit.limit,
            at: hit.at,
        })?;
        let plugin = self.plugin.clone();
        let guest = self.bounded("instantiate", &mut store, |store| W::instantiate(&plugin.inner.pre, store).map(Ok))?;
        Ok((store, guest))
    }

    fn bounded<T>(
        &mut self,
        step: &'static str,
        store: &mut Store<HostState>,
        with: impl FnOnce(&mut Store<HostState>) -> wasmtime::Result<Result<T, Breach>>,
    ) -> Result<T, CallError> {
        store.data_mut().start_call(monotonic_now());
        store.set_epoch_deadline(1);
        // A host function that panics is a fault of the host, and still ends no more than this call: the store is dropped.
        let result = catch_unwind(AssertUnwindSafe(|| with(store))).unwrap_or_else(|panic| Err(host_fault(&*panic)));
        let state = store.data_mut();
        state.end_call();
        self.in_guest = state.guest_time.end(monotonic_now());
        if !matches!(result, Ok(Ok(_))) {
            let backtrace = result.as_ref().err().map(last_words::backtrace).unwrap_or_default();
            self.last_words = LastWords { log: state.take_log(), backtrace };
        }
        let plugin = || self.name().clone();
        let limits = &self.settings.limits;
        let hit = state.limiter.hit.take();
        match result {
            Ok(Ok(value)) => Ok(value),
            Err(error) => Err(classify(self.name(), step, limits, &error, hit)),
            Ok(Err(Breach::Misfit { wants, offers })) => Err(CallError::Incompatible { plugin: plugin(), step, wants, offers }),
            Ok(Err(Breach::Refused(_) | Breach::Issues(_))) if hit.is_some() => {
                let hit = hit.expect("the guard has looked");
                Err(CallError::OverLimit { plugin: plugin(), step, limit: hit.limit, at: hit.at })
            }
            Ok(Err(Breach::Refused(failure))) => {
                let failure = self.failure(failure, state.denied.take());
                Err(CallError::Refused { plugin: plugin(), step, failure })
            }
            Ok(Err(Breach::Issues(issues))) => Err(CallError::Refused { plugin: plugin(), step, failure: self.issues(issues) }),
        }
    }

    fn failure(&self, failure: GuestFailure, grant: Option<String>) -> Failure {
        let most = self.settings.limits.metadata_bytes_max;
        Failure {
            code: failure.code,
            message: quoted(&failure.message, most),
            retryable: failure.retryable,
            retry_after_ms: failure.retry_after_ms,
            issues: Vec::new(),
            grant,
        }
    }

    fn issues(&self, issues: Vec<(String, String)>) -> Failure {
        let most = self.settings.limits.metadata_bytes_max;
        let issue = |(pointer, message): (String, String)| ConfigIssue { pointer: quoted(&pointer, most), message: quoted(&message, most) };
        let issues = issues.into_iter().take(ISSUES_MAX).map(issue).collect();
        Failure {
            code: 0,
            message: "it does not accept its configuration".into(),
            retryable: false,
            retry_after_ms: None,
            issues,
            grant: None,
        }
    }
}

/// A store with every limit in place before anything is instantiated in it.
fn new_store(plugin: &Plugin, settings: &PluginSettings) -> Result<Store<HostState>, LimitHit> {
    let inner = &plugin.inner;
    let (reasons, log_rate) = (Arc::clone(&inner.reasons), Arc::clone(&inner.log_rate));
    let keeps_state = inner.manifest.state == StateKind::Keyed;
    let state = HostState::new(&inner.name, settings, reasons, log_rate, inner.sandbox.budget.place()?, keeps_state);
    let mut store = Store::new(&inner.sandbox.engine, state);
    if inner.sandbox.is_limited {
        store.limiter(|state| &mut state.limiter);
    }
    store.set_hostcall_fuel(usize::try_from(settings.limits.host_call_bytes_max).unwrap_or(usize::MAX));
    store.set_max_component_handles(usize::try_from(settings.limits.resources_max).unwrap_or(usize::MAX));
    store.call_hook(|mut store, step| {
        store.data_mut().guest_time.step(step, monotonic_now());
        Ok(())
    });
    store.epoch_deadline_callback(|mut store| {
        store.data_mut().check_time()?;
        Ok(UpdateDeadline::Continue(1))
    });
    Ok(store)
}

fn host_fault(panic: &(dyn Any + Send)) -> wasmtime::Error {
    let words = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    wasmtime::format_err!("a host function that it called panicked, which is a fault of the host: {}", words.unwrap_or("no words"))
}

impl Plugin {
    /// Makes one instance and drops it, without configuring it: whether it can be made, and what that costs.
    ///
    /// # Errors
    /// [`CallError`] when it cannot.
    pub fn instantiate(&self, settings: &PluginSettings) -> Result<(), CallError> {
        match self.kind() {
            PluginKind::Source => instantiate_once::<source::SourcePlugin>(self, settings),
            PluginKind::Cleaner => instantiate_once::<cleaner::CleanerPlugin>(self, settings),
            PluginKind::Evaluator => instantiate_once::<evaluator::EvaluatorPlugin>(self, settings),
            PluginKind::Alerter => instantiate_once::<alerter::AlerterPlugin>(self, settings),
        }
    }
}

fn instantiate_once<W: World>(plugin: &Plugin, settings: &PluginSettings) -> Result<(), CallError> {
    let (last_words, telemetry) = (LastWords::default(), Telemetry::new(plugin.name()));
    let (plugin, settings, config) = (plugin.clone(), settings.clone(), String::new());
    let mut slot: Slot<W> = Slot { plugin, settings, config, live: None, last_words, telemetry, in_guest: Default::default() };
    slot.instantiate().map(drop)
}
