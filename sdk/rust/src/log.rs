//! Messages to the operator, under the plugin's name. The host limits their size and rate.
//!
//! ```
//! use tidegate_plugin::log;
//! log::warn!("skipped {} lines", 3);
//! ```

use crate::host;

/// How much a message matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// A person must act.
    Error,
    /// Odd, carried on.
    Warn,
    /// Something changed.
    Info,
    /// Why.
    Debug,
    /// Every step.
    Trace,
}

/// Writes one message.
pub fn write(level: Level, message: &str) {
    let level = match level {
        Level::Error => host::log::Level::Error,
        Level::Warn => host::log::Level::Warn,
        Level::Info => host::log::Level::Info,
        Level::Debug => host::log::Level::Debug,
        Level::Trace => host::log::Level::Trace,
    };
    host::log::write(level, message);
}

macro_rules! levels {
    ($dollar:tt $($name:ident $exported:ident $level:ident $doc:literal;)*) => { $(
        #[doc = $doc]
        #[doc(hidden)]
        #[macro_export]
        macro_rules! $exported {
            ($dollar($dollar argument:tt)*) => {
                $dollar crate::log::write($dollar crate::log::Level::$level, &::std::format!($dollar($dollar argument)*))
            };
        }
        #[doc = $doc]
        pub use $exported as $name;
    )* };
}

levels! { $
    error __log_error Error "A person must act.";
    warn __log_warn Warn "Odd, carried on.";
    info __log_info Info "Something changed.";
    debug __log_debug Debug "Why.";
    trace __log_trace Trace "Every step.";
}
