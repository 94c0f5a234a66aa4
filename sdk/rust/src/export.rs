//! `export!`: makes a type the plugin of its component.

/// Exports a type as the plugin of this component and embeds the manifest: `export!(Mine, cleaner)`.
///
/// The kind is `source`, `cleaner`, `evaluator` or `alerter`. The manifest is `plugin.toml` beside `Cargo.toml`; another file is named
/// as `export!(Mine, cleaner, "examples/cleaner.toml")`. Use it once in a crate of type `cdylib`. Away from wasm it only checks types.
#[macro_export]
macro_rules! export {
    ($plugin:ty, $kind:ident) => {
        $crate::export!($plugin, $kind, "plugin.toml");
    };
    ($plugin:ty, $kind:ident, $manifest:literal) => {
        const _: () = {
            type TidegateExported = $crate::__private::Exported<$plugin>;

            impl $crate::__private::Hosted for $plugin {
                fn cell<R>(use_cell: impl FnOnce(&$crate::__private::Cell<Self>) -> R) -> R {
                    ::std::thread_local! { static CELL: $crate::__private::Cell<$plugin> = const { $crate::__private::Cell::new() }; }
                    CELL.with(use_cell)
                }
            }

            const TIDEGATE_MANIFEST: &[u8] = ::std::include_bytes!(::std::concat!(::std::env!("CARGO_MANIFEST_DIR"), "/", $manifest));
            $crate::__export_kind!($plugin, $kind, TidegateExported, TIDEGATE_MANIFEST);
        };
    };
}

#[doc(hidden)]
#[macro_export]
#[cfg(target_family = "wasm")]
macro_rules! __export_kind {
    ($plugin:ty, source, $exported:ident, $manifest:ident) => {
        $crate::__export_as!(Source, source, $plugin, $exported, $manifest);
    };
    ($plugin:ty, cleaner, $exported:ident, $manifest:ident) => {
        $crate::__export_as!(Cleaner, cleaner, $plugin, $exported, $manifest);
    };
    ($plugin:ty, evaluator, $exported:ident, $manifest:ident) => {
        $crate::__export_as!(Evaluator, evaluator, $plugin, $exported, $manifest);
    };
    ($plugin:ty, alerter, $exported:ident, $manifest:ident) => {
        $crate::__export_as!(Alerter, alerter, $plugin, $exported, $manifest);
    };
}

#[doc(hidden)]
#[macro_export]
#[cfg(target_family = "wasm")]
macro_rules! __export_as {
    ($trait:ident, $kind:ident, $plugin:ty, $exported:ident, $manifest:ident) => {
        impl $crate::__private::Configurable for $plugin {
            fn configure_text(config: &str) -> ::std::result::Result<Self, $crate::Issues> {
                <$plugin as $crate::$trait>::configure($crate::__private::read_config(config)?)
            }
            fn probe_plugin(&self) -> ::std::result::Result<(), $crate::Failure> {
                <$plugin as $crate::$trait>::probe(self)
            }
        }

        // The host reads the manifest from this section without running anything.
        #[used]
        #[unsafe(link_section = "tidegate:manifest")]
        static TIDEGATE_SECTION: [u8; $manifest.len()] = {
            let mut section = [0; $manifest.len()];
            section.copy_from_slice($manifest);
            section
        };

        $crate::__private::lifecycle::export!($exported with_types_in $crate::__private::lifecycle);
        $crate::__private::$kind::export!($exported with_types_in $crate::__private::$kind);
    };
}

#[doc(hidden)]
#[macro_export]
#[cfg(not(target_family = "wasm"))]
macro_rules! __export_kind {
    ($plugin:ty, source, $exported:ident, $manifest:ident) => {
        $crate::__check_kind!(Source, $plugin, $exported, $manifest);
    };
    ($plugin:ty, cleaner, $exported:ident, $manifest:ident) => {
        $crate::__check_kind!(Cleaner, $plugin, $exported, $manifest);
    };
    ($plugin:ty, evaluator, $exported:ident, $manifest:ident) => {
        $crate::__check_kind!(Evaluator, $plugin, $exported, $manifest);
    };
    ($plugin:ty, alerter, $exported:ident, $manifest:ident) => {
        $crate::__check_kind!(Alerter, $plugin, $exported, $manifest);
    };
}

#[doc(hidden)]
#[macro_export]
#[cfg(not(target_family = "wasm"))]
macro_rules! __check_kind {
    ($trait:ident, $plugin:ty, $exported:ident, $manifest:ident) => {
        const _: fn() = || {
            fn is_plugin<P: $crate::$trait + $crate::__private::Hosted>(_: &[u8]) {}
            is_plugin::<$plugin>($manifest);
            let _ = ::std::mem::size_of::<$exported>();
        };
    };
}

/// What the macro's expansion needs; not for use by hand.
pub mod private {
    use std::cell::OnceCell;
    use std::marker::PhantomData;

    /// Where the one configured plugin of an instance is.
    pub type Cell<P> = OnceCell<&'static P>;

    /// The exports of `P`.
    pub struct Exported<P>(PhantomData<P>);

    /// A plugin that has a place in its instance.
    pub trait Hosted: Sized + 'static {
        /// Lends the place.
        fn cell<R>(use_cell: impl FnOnce(&Cell<Self>) -> R) -> R;
    }

    #[cfg(target_family = "wasm")]
    pub use wasm::*;

    #[cfg(target_family = "wasm")]
    mod wasm {
        use super::{Exported, Hosted};
        use crate::bindings::host::failures;
        pub use crate::bindings::{alerter, cleaner, evaluator, lifecycle, source};
        use crate::{Failure, Issues};

        /// A plugin that can be made from the text of its configuration.
        pub trait Configurable: Hosted {
            /// Makes it.
            fn configure_text(config: &str) -> Result<Self, Issues>;
            /// Its self-test.
            fn probe_plugin(&self) -> Result<(), Failure>;
        }

        /// Reads a configuration.
        pub fn read_config<C: serde::de::DeserializeOwned>(text: &str) -> Result<C, Issues> {
            crate::config::read(text)
        }

        /// The configured plugin of this instance.
        pub fn configured<P: Hosted>() -> Result<&'static P, failures::Failure> {
            let plugin = P::cell(|cell| cell.get().copied());
            plugin.ok_or_else(|| Failure::new("the plugin was called before `configure`").into_host())
        }

        impl<P: Configurable> lifecycle::Guest for Exported<P> {
            fn configure(config: String) -> Result<(), Vec<lifecycle::Issue>> {
                let lower = |issue: crate::Issue| lifecycle::Issue { pointer: issue.pointer, message: issue.message };
                let plugin = P::configure_text(&config).map_err(|issues| issues.0.into_iter().map(lower).collect::<Vec<_>>())?;
                // The plugin lives as long as its instance, so leaking it costs nothing and saves a count on every call.
                P::cell(|cell| cell.set(Box::leak(Box::new(plugin))))
                    .map_err(|_| vec![lifecycle::Issue { pointer: String::new(), message: "the plugin was configured already".into() }])
            }

            fn probe() -> Result<(), failures::Failure> {
                configured::<P>()?.probe_plugin().map_err(Failure::into_host)
            }
        }
    }
}
