//! Every named limit with its default. A limit has its unit in its name and lives nowhere else.
//!
//! Invariant: a limit that the configuration can change is written once, in a table here, with its bounds; the configuration, the
//! sandbox and the test that asks for a guest beyond each limit all read that table, so that none can be forgotten.

use serde::{Deserialize, Serialize};

/// One limit as the configuration knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitKey {
    /// Its key, with its unit.
    pub key: &'static str,
    /// The lowest value that can be written.
    pub low: u64,
    /// The highest value that can be written.
    pub high: u64,
    /// Whether it counts bytes, so that sizes such as `256MiB` are understood.
    pub is_size: bool,
}

/// Makes a struct of limits and the table of its keys, so that there is no field without a key and bounds.
macro_rules! limits {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $key:ident: $type:ty, $low:expr, $high:expr;)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        pub struct $name { $($(#[$doc])* pub $key: $type,)* }

        impl $name {
            /// Every limit, with its bounds.
            pub const KEYS: &'static [LimitKey] = &[
                $(LimitKey { key: stringify!($key), low: $low, high: $high, is_size: is_size(stringify!($key)) },)*
            ];

            /// Sets the limit named `key`; false when there is none of that name. A value beyond its type becomes the highest.
            pub fn set(&mut self, key: &str, value: u64) -> bool {
                match key {
                    $(stringify!($key) => self.$key = <$type>::try_from(value).unwrap_or(<$type>::MAX),)*
                    _ => return false,
                }
                true
            }

            /// The limit named `key`.
            pub fn get(&self, key: &str) -> Option<u64> {
                match key {
                    $(stringify!($key) => Some(u64::from(self.$key)),)*
                    _ => None,
                }
            }
        }
    };
}

/// Whether a key counts bytes: whether it ends in `bytes_max`.
const fn is_size(key: &str) -> bool {
    let (key, end) = (key.as_bytes(), b"bytes_max");
    let mut at = 0;
    while at < end.len() {
        if key.len() < end.len() || key[key.len() - end.len() + at] != end[at] {
            return false;
        }
        at += 1;
    }
    true
}

limits! {
    /// Limits of one plugin. The configuration can change each; absent keys take the defaults of the plugin's kind.
    PluginLimits {
        /// Linear memory of one instance.
        memory_bytes_max: u64, 1 << 16, 4 << 30;
        /// Entries of one table.
        table_entries_max: u64, 1, 10_000_000;
        /// Core instances, tables and memories in one instance of the plugin, each.
        instances_max: u32, 1, 1_000;
        /// Wall time of one call, spinning or blocked.
        call_ms_max: u64, 1, 3_600_000;
        /// Processor time of one call, in the guest and in the host functions that it calls; waiting costs none.
        call_cpu_ms_max: u64, 1, 3_600_000;
        /// Processor time for each row that a call is about; one of few rows may use [`ROWS_CPU_FREE_MS`] besides.
        row_cpu_us_max: u64, 1, 3_600_000_000;
        /// Host functions of the interface that one call may call, small ones and large ones alike.
        host_calls_max: u64, 1, 1_000_000_000;
        /// Bytes that the guest may hand to one host function.
        host_call_bytes_max: u64, 1 << 10, 4 << 30;
        /// Host-owned resources (batches, builders, inputs) alive at once.
        resources_max: u32, 1, 1_000_000;
        /// Inputs open at once; each costs the host a file.
        open_inputs_max: u32, 1, 1_000;
        /// Bytes of one log message; the rest is cut off.
        log_line_bytes_max: u32, 16, 1 << 20;
        /// Bytes of log in one call; further messages are dropped and counted.
        log_call_bytes_max: u32, 16, 64 << 20;
        /// Bytes of log in one second, of all instances of the plugin; further messages are dropped and counted.
        log_second_bytes_max: u32, 16, 64 << 20;
        /// Rows of one batch that the guest returns.
        output_rows_max: u32, 1, 1 << 28;
        /// Bytes that the host holds for one instance: batches that it builds, columns that it adds, text and terms that it writes.
        output_bytes_max: u64, 1 << 10, 4 << 30;
        /// Columns of one batch, reasons of one manifest, metrics of one report.
        metadata_entries_max: u32, 1, 1_000_000;
        /// Bytes of one name, reason or error text.
        metadata_bytes_max: u32, 16, 1 << 20;
        /// Bytes of all bodies that one call sends and receives by http.
        egress_bytes_max: u64, 1 << 10, 4 << 30;
        /// Connections that one call makes by http, redirects among them.
        egress_connections_max: u32, 1, 100_000;
        /// Entries of the state that a cleaner keeps, in one place of one pipeline.
        state_entries_max: u64, 1, 100_000_000;
        /// Bytes of that state: keys and values, and [`STATE_ENTRY_BYTES`] for each entry. It is held in memory.
        state_bytes_max: u64, 1 << 10, 64 << 30;
        /// Bytes of one key of the state.
        state_key_bytes_max: u32, 16, 1 << 16;
        /// Bytes of one value of the state.
        state_value_bytes_max: u32, 16, 64 << 20;
    }
}

limits! {
    /// Limits that all plugins share.
    SharedLimits {
        /// Linear memory of all instances together, and what the host holds for them.
        memory_bytes_max: u64, 1 << 16, 1 << 44;
        /// Instances of all plugins together.
        instances_max: u32, 1, 1_000;
        /// Size of a component file.
        component_bytes_max: u64, 1 << 10, 1 << 30;
        /// Wall time of one compilation in the child process.
        compile_ms_max: u64, 100, 3_600_000;
        /// Address space of the child process that compiles.
        compile_memory_bytes_max: u64, 1 << 30, 1 << 40;
    }
}

const MIB: u64 = 1 << 20;

impl PluginLimits {
    /// Defaults of a source.
    pub const SOURCE: PluginLimits = PluginLimits {
        memory_bytes_max: 256 * MIB,
        table_entries_max: 100_000,
        instances_max: 32,
        call_ms_max: 30_000,
        call_cpu_ms_max: 10_000,
        row_cpu_us_max: 10_000,
        host_calls_max: 10_000_000,
        host_call_bytes_max: 64 * MIB,
        resources_max: 1_024,
        open_inputs_max: 32,
        log_line_bytes_max: 1_024,
        log_call_bytes_max: 65_536,
        log_second_bytes_max: 1 << 20,
        output_rows_max: 1 << 20,
        output_bytes_max: 256 * MIB,
        metadata_entries_max: 4_096,
        metadata_bytes_max: 1_024,
        egress_bytes_max: 64 * MIB,
        egress_connections_max: 256,
        state_entries_max: 2_000_000,
        state_bytes_max: 256 * MIB,
        state_key_bytes_max: 1_024,
        state_value_bytes_max: 1 << 20,
    };
    /// Defaults of a cleaner.
    pub const CLEANER: PluginLimits = PluginLimits { call_ms_max: 5_000, call_cpu_ms_max: 4_000, ..PluginLimits::SOURCE };
    /// Defaults of an evaluator.
    pub const EVALUATOR: PluginLimits =
        PluginLimits { memory_bytes_max: 512 * MIB, call_ms_max: 60_000, call_cpu_ms_max: 30_000, ..PluginLimits::SOURCE };
    /// Defaults of an alerter.
    pub const ALERTER: PluginLimits = PluginLimits {
        memory_bytes_max: 64 * MIB,
        call_ms_max: 15_000,
        call_cpu_ms_max: 2_000,
        egress_bytes_max: MIB,
        egress_connections_max: 16,
        ..PluginLimits::SOURCE
    };
}

impl SharedLimits {
    /// What holds unless `[plugins]` says otherwise.
    pub const DEFAULT: SharedLimits = SharedLimits {
        memory_bytes_max: 2_048 * MIB,
        instances_max: 128,
        component_bytes_max: 64 * MIB,
        compile_ms_max: 120_000,
        compile_memory_bytes_max: 4_096 * MIB,
    };
}

/// Bytes that an entry of a plugin's state counts beside its key and value: what it costs the host to hold it.
pub const STATE_ENTRY_BYTES: u64 = 64;
/// Processor time that a call over few rows may use, whatever `row_cpu_us_max` makes of them.
pub const ROWS_CPU_FREE_MS: u64 = 1_500;
/// Period of the epoch ticker: how late a spinning guest can be stopped.
pub const EPOCH_TICK_MS: u64 = 10;
/// Strikes within the window that quarantine a plugin, unless `[plugins] strikes_max` says otherwise.
pub const STRIKES_MAX: u32 = 3;
/// Minutes that a strike counts, unless `[plugins] strike_window_minutes` says otherwise.
pub const STRIKE_WINDOW_MINUTES: u64 = 60;
/// Batches that one cleaner may send to the dead letters within that window, unless `[plugins] dead_letters_max` says otherwise.
pub const DEAD_LETTERS_MAX: u32 = 10;
/// Share of the rows of a batch that a cleaner may drop, unless `damage` where it is used says otherwise.
pub const ROWS_DROPPED_SHARE_MAX: f64 = 0.9;
/// Bytes of a quarantine reason: it is kept with every row that it costs.
pub const REASON_BYTES_MAX: u32 = 64;
/// Redirects that one request of a plugin follows.
pub const REDIRECTS_MAX: u32 = 5;
/// Rows that one poll asks a source for.
pub const POLL_ROWS_MAX: u32 = 65_536;
/// Bytes that one poll asks a source for.
pub const POLL_BYTES_MAX: u64 = 64 * MIB;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_reads_what_it_sets_and_every_default_is_within_its_bounds() {
        for (name, defaults) in [
            ("source", PluginLimits::SOURCE),
            ("cleaner", PluginLimits::CLEANER),
            ("evaluator", PluginLimits::EVALUATOR),
            ("alerter", PluginLimits::ALERTER),
        ] {
            for key in PluginLimits::KEYS {
                let default = defaults.get(key.key).expect("the table names fields");
                assert!((key.low..=key.high).contains(&default), "{name}: `{}` is {default}", key.key);
                let mut limits = defaults;
                assert!(limits.set(key.key, key.high));
                assert_eq!(limits.get(key.key), Some(key.high), "{}", key.key);
            }
        }
        let mut shared = SharedLimits::DEFAULT;
        for key in SharedLimits::KEYS {
            assert!((key.low..=key.high).contains(&shared.get(key.key).expect("the table names fields")), "{}", key.key);
            assert!(shared.set(key.key, key.low));
        }
        assert!(!shared.set("memory_bytes", 1) && shared.get("memory_bytes").is_none());
    }

    #[test]
    fn a_key_that_counts_bytes_is_told_from_its_end() {
        let sizes = |keys: &[LimitKey]| keys.iter().filter(|key| key.is_size).count();
        assert_eq!((sizes(PluginLimits::KEYS), sizes(SharedLimits::KEYS)), (11, 3));
        assert!(!is_size("max") && !is_size("rows_max") && is_size("bytes_max"));
    }
}
