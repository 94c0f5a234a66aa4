//! Loading: bytes to a plugin that can be used, or a sentence that says why not.
//!
//! Order: size, outside (names, manifest), world and interface version, compilation, link. Nothing of the guest has run when a
//! plugin is loaded; that begins with a handle ([`Plugin::source`] and its sisters).

use std::sync::Arc;

use tidegate_vocab::limits::SharedLimits;
use tidegate_vocab::{Digest, PluginName};
use wasmtime::component::Component;

use crate::aot::{self, Compiled};
use crate::bindings::alerter::AlerterPluginPre;
use crate::bindings::cleaner::CleanerPluginPre;
use crate::bindings::evaluator::EvaluatorPluginPre;
use crate::bindings::source::SourcePluginPre;
use crate::call::{CallError, ConfigIssue, Failure, quoted};
use crate::compile::CompileError;
use crate::engine::{Sandbox, SandboxInner};
use crate::host::HostState;
use crate::host::log::LogRate;
use crate::manifest::{self, Manifest, PluginKind, Unreadable};

/// The interface version that this host serves.
pub const INTERFACE: &str = "0.1";
const PACKAGE: &str = "tidegate:plugin/";
/// Bytes of wasmtime's explanation that are shown.
const WHY_BYTES_MAX: u32 = 2048;
/// Faults of a configuration that are listed.
const ISSUES_MAX: usize = 32;
/// Size of the automaton that a pattern in a configuration schema may need.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// A file that is not a plugin this host can run.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No bytes.
    #[error("plugin `{plugin}` is empty: 0 bytes")]
    Empty {
        /// The plugin.
        plugin: PluginName,
    },
    /// Too many bytes.
    #[error("plugin `{plugin}` has {bytes} bytes, `component_bytes_max` is {bytes_max}")]
    TooLarge {
        /// The plugin.
        plugin: PluginName,
        /// Its size.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// Not WebAssembly, or a core module.
    #[error("plugin `{plugin}` is not a WebAssembly component: found {found}")]
    NotAComponent {
        /// The plugin.
        plugin: PluginName,
        /// What it is.
        found: &'static str,
    },
    /// Cut off or altered.
    #[error("plugin `{plugin}` is damaged: {why}")]
    Damaged {
        /// The plugin.
        plugin: PluginName,
        /// Where.
        why: String,
    },
    /// No manifest, or one with a fault.
    #[error("the manifest of plugin `{plugin}` cannot be used: {why}")]
    Manifest {
        /// The plugin.
        plugin: PluginName,
        /// What is wrong.
        why: String,
    },
    /// Built for an interface version that this host does not serve.
    #[error("plugin `{plugin}` was built for interface {wants}, this host serves {INTERFACE}")]
    Interface {
        /// The plugin.
        plugin: PluginName,
        /// The version it was built for.
        wants: String,
    },
    /// Its imports or exports are not those of its kind.
    #[error("plugin `{plugin}` says that it is {kind}, but {why}")]
    World {
        /// The plugin.
        plugin: PluginName,
        /// What its manifest says, with its article.
        kind: String,
        /// What does not fit.
        why: String,
    },
    /// It was not compiled.
    #[error("could not compile plugin `{plugin}`")]
    Compile {
        /// The plugin.
        plugin: PluginName,
        /// The cause.
        source: CompileError,
    },
}

impl LoadError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            LoadError::Empty { .. } | LoadError::Damaged { .. } => "copy the file again, or rebuild the plugin".into(),
            LoadError::TooLarge { .. } => {
                "strip debug information from it (`wasm-tools strip`), or raise `[plugins] component_bytes_max`".into()
            }
            LoadError::NotAComponent { .. } => "build it for `wasm32-wasip2`".into(),
            LoadError::Manifest { .. } => {
                "embed a correct `plugin.toml` with `tidegate plugin pack FILE --manifest plugin.toml`; `tidegate plugin build` does it by itself"
                    .into()
            }
            LoadError::Interface { plugin, .. } => {
                format!("rebuild `{plugin}` with the SDK of interface {INTERFACE} and this host's `wit/`")
            }
            LoadError::World { .. } => "set `kind` in its `plugin.toml` to the world it was built for, and rebuild it".into(),
            LoadError::Compile { source: CompileError::TooSlow { .. }, .. } => {
                "the plugin is very large, or made to be slow to compile; if it is meant, raise `[plugins] compile_ms_max`".into()
            }
            LoadError::Compile { source: CompileError::Died { .. }, .. } => {
                "if it is meant to be so large, raise `[plugins] compile_memory_bytes_max`".into()
            }
            LoadError::Compile { .. } => return None,
        })
    }
}

/// A loaded plugin: compiled, linked, not yet running. Cloning shares it.
#[derive(Clone)]
pub struct Plugin {
    pub(crate) inner: Arc<PluginInner>,
}

pub(crate) struct PluginInner {
    pub(crate) name: PluginName,
    pub(crate) digest: Digest,
    pub(crate) manifest: Manifest,
    pub(crate) imports: Vec<String>,
    pub(crate) compiled: Compiled,
    pub(crate) reasons: Arc<[String]>,
    pub(crate) log_rate: Arc<LogRate>,
    pub(crate) pre: Linked,
    pub(crate) sandbox: Arc<SandboxInner>,
    schema: jsonschema::Validator,
}

/// A component with its imports resolved, by kind.
pub(crate) enum Linked {
    Source(SourcePluginPre<HostState>),
    Cleaner(CleanerPluginPre<HostState>),
    Evaluator(EvaluatorPluginPre<HostState>),
    Alerter(AlerterPluginPre<HostState>),
}

/// What is known of a component before it is compiled.
struct Examined {
    manifest: Manifest,
    imports: Vec<String>,
    schema: jsonschema::Validator,
}

/// Checks everything that can be checked without compiling: size, names, manifest, interface version, world, configuration schema.
///
/// # Errors
/// [`LoadError`] when the bytes are not a plugin that this host can run.
pub fn examine(name: &PluginName, bytes: &[u8], limits: &SharedLimits) -> Result<Manifest, LoadError> {
    examined(name, bytes, limits).map(|examined| examined.manifest)
}

fn examined(name: &PluginName, bytes: &[u8], limits: &SharedLimits) -> Result<Examined, LoadError> {
    let plugin = || name.clone();
    if bytes.is_empty() {
        return Err(LoadError::Empty { plugin: plugin() });
    }
    let bytes_max = limits.component_bytes_max;
    if bytes.len() as u64 > bytes_max {
        return Err(LoadError::TooLarge { plugin: plugin(), bytes: bytes.len() as u64, bytes_max });
    }
    let mut outside = manifest::outside(bytes).map_err(|unreadable| match unreadable {
        Unreadable::NotWasm => LoadError::NotAComponent { plugin: plugin(), found: "other bytes" },
        Unreadable::CoreModule => LoadError::NotAComponent { plugin: plugin(), found: "a core module" },
        Unreadable::Damaged(why) => LoadError::Damaged { plugin: plugin(), why },
    })?;
    check_interface(name, outside.imports.iter().chain(&outside.exports))?;
    let section = outside.manifest.ok_or_else(|| LoadError::Manifest { plugin: plugin(), why: "it has none".into() })?;
    let manifest = manifest::parse(&section).map_err(|why| LoadError::Manifest { plugin: plugin(), why })?;
    if manifest.interface != INTERFACE && !manifest.interface.starts_with(&format!("{INTERFACE}.")) {
        return Err(LoadError::Interface { plugin: plugin(), wants: manifest.interface });
    }
    check_world(name, manifest.kind, &outside.imports, &outside.exports)?;
    let schema = jsonschema::options()
        .with_pattern_options(jsonschema::PatternOptions::regex().size_limit(PATTERN_BYTES_MAX))
        .offline()
        .build(&manifest.config_schema)
        .map_err(|error| LoadError::Manifest {
            plugin: plugin(),
            why: format!("`config` is not a JSON Schema: {}", quoted(&error.to_string(), 512)),
        })?;
    // Toolchains do not promise an order, so that a rebuilt plugin would read differently.
    outside.imports.sort_unstable();
    Ok(Examined { manifest, imports: outside.imports, schema })
}

impl Sandbox {
    /// Loads a plugin from the bytes of its component.
    ///
    /// # Errors
    /// [`LoadError`] when the bytes are not a plugin that this host can run.
    pub fn load(&self, name: &PluginName, bytes: &[u8]) -> Result<Plugin, LoadError> {
        let plugin = || name.clone();
        let Examined { manifest, imports, schema } = examined(name, bytes, &self.inner.config.limits)?;
        let digest = Digest::of(bytes);
        let (component, compiled) =
            aot::ready(&self.inner, digest, bytes).map_err(|source| LoadError::Compile { plugin: plugin(), source })?;
        let pre = self.link(name, manifest.kind, &component)?;
        let reasons = manifest.reasons.clone().into();
        let sandbox = Arc::clone(&self.inner);
        let inner =
            PluginInner { name: plugin(), digest, manifest, imports, compiled, reasons, log_rate: Arc::default(), pre, sandbox, schema };
        Ok(Plugin { inner: Arc::new(inner) })
    }

    fn link(&self, name: &PluginName, kind: PluginKind, component: &Component) -> Result<Linked, LoadError> {
        let misfit = |error: wasmtime::Error| LoadError::World {
            plugin: name.clone(),
            kind: with_article(kind),
            why: format!("it does not link: {}", quoted(&format!("{error:#}"), WHY_BYTES_MAX)),
        };
        let pre = self.inner.linker.instantiate_pre(component).map_err(misfit)?;
        let linked = match kind {
            PluginKind::Source => SourcePluginPre::new(pre).map(Linked::Source),
            PluginKind::Cleaner => CleanerPluginPre::new(pre).map(Linked::Cleaner),
            PluginKind::Evaluator => EvaluatorPluginPre::new(pre).map(Linked::Evaluator),
            PluginKind::Alerter => AlerterPluginPre::new(pre).map(Linked::Alerter),
        };
        linked.map_err(misfit)
    }
}

impl Plugin {
    /// Its name in the configuration.
    pub fn name(&self) -> &PluginName {
        &self.inner.name
    }

    /// The digest of its component.
    pub fn digest(&self) -> Digest {
        self.inner.digest
    }

    /// What it says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.inner.manifest
    }

    /// What it does.
    pub fn kind(&self) -> PluginKind {
        self.inner.manifest.kind
    }

    /// Names of everything it imports.
    pub fn imports(&self) -> &[String] {
        &self.inner.imports
    }

    /// Whether it was compiled now or found in the cache.
    pub fn compiled(&self) -> Compiled {
        self.inner.compiled
    }

    /// Checks a configuration against the manifest's schema, without running the plugin.
    ///
    /// # Errors
    /// [`CallError::Refused`] that lists what is wrong, and where.
    pub fn check_config(&self, config: &serde_json::Value) -> Result<(), CallError> {
        let most = self.inner.manifest.kind.default_limits().metadata_bytes_max;
        let issue = |error: jsonschema::ValidationError<'_>| ConfigIssue {
            pointer: quoted(error.instance_path().as_str(), most),
            message: quoted(&error.to_string(), most),
        };
        let issues: Vec<ConfigIssue> = self.inner.schema.iter_errors(config).take(ISSUES_MAX).map(issue).collect();
        if issues.is_empty() {
            return Ok(());
        }
        let message = "its configuration does not fit the schema in its manifest".into();
        let failure = Failure { code: 0, message, retryable: false, retry_after_ms: None, issues, grant: None };
        Err(CallError::Refused { plugin: self.inner.name.clone(), step: "configure", failure })
    }
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin").field("name", &self.inner.name).field("digest", &self.inner.digest).finish_non_exhaustive()
    }
}

/// Interface and version of a name in our package: `rows` and `0.1.0` of `tidegate:plugin/rows@0.1.0`.
fn ours(name: &str) -> Option<(&str, &str)> {
    let name = name.strip_prefix(PACKAGE)?;
    Some(name.split_once('@').unwrap_or((name, "")))
}

fn check_interface<'a>(plugin: &PluginName, mut names: impl Iterator<Item = &'a String>) -> Result<(), LoadError> {
    let other = names.find_map(|name| {
        let (_, version) = ours(name)?;
        let minor = version.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
        (minor != INTERFACE).then_some(minor)
    });
    match other {
        None => Ok(()),
        Some(wants) => Err(LoadError::Interface { plugin: plugin.clone(), wants }),
    }
}

fn check_world(plugin: &PluginName, kind: PluginKind, imports: &[String], exports: &[String]) -> Result<(), LoadError> {
    let exported = |interface: &str| exports.iter().any(|name| ours(name).is_some_and(|(exported, _)| exported == interface));
    let misfit = |why: String| Err(LoadError::World { plugin: plugin.clone(), kind: with_article(kind), why });
    for interface in [kind.word(), "lifecycle"] {
        if !exported(interface) {
            let other = PluginKind::ALL.into_iter().find(|other| exported(other.word()));
            let found = other.map_or("none of the plugin worlds".to_owned(), |other| format!("the world of {}", with_article(other)));
            return misfit(format!("it does not export `{interface}`: it was built for {found}"));
        }
    }
    let foreign = imports.iter().filter_map(|name| ours(name)).find(|(interface, _)| !kind.imports().contains(interface));
    match foreign {
        Some((interface, _)) => misfit(format!("it imports `{interface}`, which that world does not have")),
        None => Ok(()),
    }
}

fn with_article(kind: PluginKind) -> String {
    let article = if matches!(kind, PluginKind::Evaluator | PluginKind::Alerter) { "an" } else { "a" };
    format!("{article} {kind}")
}
