//! What "contained" means: a call ends in the right error, the next call works, a plugin beside it never notices, and what was taken
//! is given back.

use tidegate_sandbox::{Alert, CallError, Cleaner, PluginKind, PluginSettings, Sandbox, Severity};
use tidegate_vocab::Timestamp;

use crate::guest::{Guest, batch, sandbox, settings};

/// What a test sees of an error: the step, and the limit or how else it ended.
pub fn seen(error: &CallError) -> (&'static str, String) {
    match error {
        CallError::OverLimit { step, limit, .. } => (step, (*limit).to_owned()),
        CallError::Trapped { step, why, .. } => (step, format!("trap: {why}")),
        CallError::Refused { step, failure, .. } => (step, format!("refused: {failure}")),
        CallError::Incompatible { step, wants, offers, .. } => (step, format!("expected {wants}, found {offers}")),
    }
}

/// A well-behaved cleaner in the same sandbox, whose instance is the one it began with.
pub struct Bystander(Cleaner);

impl Bystander {
    pub fn new(sandbox: &Sandbox) -> Bystander {
        let (settings, _) = settings(PluginKind::Cleaner);
        Bystander(Guest::new(PluginKind::Cleaner).load(sandbox).cleaner(&settings).unwrap())
    }

    #[track_caller]
    pub fn is_unharmed(&mut self) {
        assert_eq!(self.0.clean(&batch(4)).unwrap().kept, [0, 1, 2, 3], "the plugin beside it");
    }
}

/// Runs a cleaner that misbehaves on two rows and not on one.
#[track_caller]
pub fn check_clean(guest: &Guest, limit: impl FnOnce(&mut PluginSettings), expected: &str) {
    let sandbox = sandbox();
    let mut bystander = Bystander::new(&sandbox);
    let (mut settings, _) = settings(PluginKind::Cleaner);
    limit(&mut settings);
    let mut cleaner = guest.load(&sandbox).cleaner(&settings).unwrap();
    for _ in 0..2 {
        assert_eq!(cleaner.clean(&batch(1)).unwrap().kept, [0]);
        let error = cleaner.clean(&batch(2)).unwrap_err();
        let (step, found) = seen(&error);
        assert_eq!(step, "clean", "{error}");
        assert!(found.contains(expected), "{error}");
        if let CallError::OverLimit { limit, .. } = error {
            assert!(error.hint().unwrap().contains(&format!("raise `[plugin.test] {limit}`")), "{:?}", error.hint());
        }
        bystander.is_unharmed();
    }
    assert_eq!(cleaner.clean(&batch(1)).unwrap().kept, [0]);
    drop((cleaner, bystander));
    assert_eq!((sandbox.memory_bytes(), sandbox.instance_count()), (0, 0));
}

/// Runs a guest of any kind to its first error, and then one of its kind that behaves.
#[track_caller]
pub fn check_any(guest: &Guest, limit: impl FnOnce(&mut PluginSettings), step: &str, expected: &str) {
    let sandbox = sandbox();
    let mut bystander = Bystander::new(&sandbox);
    let (mut settings, _) = settings(guest.kind);
    limit(&mut settings);
    let error = use_it(&sandbox, guest, &settings).unwrap_err();
    let (found_step, found) = seen(&error);
    assert_eq!(found_step, step, "{}: {error}", guest.kind);
    assert!(found.contains(expected), "{}: {error}", guest.kind);
    bystander.is_unharmed();
    use_it(&sandbox, &Guest::new(guest.kind), &crate::guest::settings(guest.kind).0).unwrap();
    drop(bystander);
    assert_eq!((sandbox.memory_bytes(), sandbox.instance_count()), (0, 0));
}

/// Every way into a source, cleaner, evaluator or alerter, up to the first error.
pub fn use_it(sandbox: &Sandbox, guest: &Guest, settings: &PluginSettings) -> Result<(), CallError> {
    let plugin = guest.load(sandbox);
    match guest.kind {
        PluginKind::Source => {
            let mut source = plugin.source(settings)?;
            source.open(None)?;
            source.next(10, 1000).map(drop)
        }
        PluginKind::Cleaner => plugin.cleaner(settings)?.clean(&batch(3)).map(drop),
        PluginKind::Evaluator => {
            let mut evaluator = plugin.evaluator(settings)?;
            evaluator.metrics()?;
            evaluator.evaluate(&batch(3)).map(drop)
        }
        PluginKind::Alerter => plugin.alerter(settings)?.notify(&alert()).map(drop),
    }
}

pub fn alert() -> Alert {
    let text = || "text".to_owned();
    let (key, title, cause, model, link) = (text(), text(), text(), text(), text());
    Alert { key, severity: Severity::Warning, title, cause, model, link, fired_at: Timestamp(0), resolved: false }
}
