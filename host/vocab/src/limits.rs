//! Every named limit with its default. A limit has its unit in its name and lives nowhere else.

use serde::{Deserialize, Serialize};

/// Limits of one plugin. The configuration can change each; absent keys take the defaults of the plugin's kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginLimits {
    /// Linear memory of one instance.
    pub memory_bytes_max: u64,
    /// Entries of one table.
    pub table_entries_max: u64,
    /// Core instances, tables and memories in one instance of the plugin, each.
    pub instances_max: u32,
    /// Wall time of one call, spinning or blocked.
    pub call_ms_max: u64,
    /// Bytes that the guest may hand to one host function.
    pub host_call_bytes_max: u64,
    /// Host-owned resources (batches, builders, inputs) alive at once.
    pub resources_max: u32,
    /// Bytes of one log message; the rest is cut off.
    pub log_line_bytes_max: u32,
    /// Bytes of log in one call; further messages are dropped and counted.
    pub log_call_bytes_max: u32,
    /// Rows of one batch that the guest returns.
    pub output_rows_max: u32,
    /// Bytes of one batch that the guest returns.
    pub output_bytes_max: u64,
    /// Columns of one batch, reasons of one manifest, metrics of one report.
    pub metadata_entries_max: u32,
    /// Bytes of one name, reason or error text.
    pub metadata_bytes_max: u32,
    /// Bytes of all bodies that one call sends and receives by http.
    pub egress_bytes_max: u64,
}

const MIB: u64 = 1 << 20;

impl PluginLimits {
    /// Defaults of a source.
    pub const SOURCE: PluginLimits = PluginLimits {
        memory_bytes_max: 256 * MIB,
        table_entries_max: 100_000,
        instances_max: 32,
        call_ms_max: 30_000,
        host_call_bytes_max: 64 * MIB,
        resources_max: 1_024,
        log_line_bytes_max: 1_024,
        log_call_bytes_max: 65_536,
        output_rows_max: 1 << 20,
        output_bytes_max: 256 * MIB,
        metadata_entries_max: 4_096,
        metadata_bytes_max: 1_024,
        egress_bytes_max: 64 * MIB,
    };
    /// Defaults of a cleaner.
    pub const CLEANER: PluginLimits = PluginLimits { call_ms_max: 5_000, ..PluginLimits::SOURCE };
    /// Defaults of an evaluator.
    pub const EVALUATOR: PluginLimits = PluginLimits { memory_bytes_max: 512 * MIB, call_ms_max: 60_000, ..PluginLimits::SOURCE };
    /// Defaults of an alerter.
    pub const ALERTER: PluginLimits =
        PluginLimits { memory_bytes_max: 64 * MIB, call_ms_max: 15_000, egress_bytes_max: MIB, ..PluginLimits::SOURCE };
}

/// Size of a component file.
pub const COMPONENT_BYTES_MAX: u64 = 64 * MIB;
/// Linear memory of all instances together, unless `[plugins] memory_bytes_max` says otherwise.
pub const PLUGINS_MEMORY_BYTES_MAX: u64 = 2_048 * MIB;
/// Wall time of one compilation in the child process.
pub const COMPILE_MS_MAX: u64 = 120_000;
/// Address space of the child process that compiles.
pub const COMPILE_MEMORY_BYTES_MAX: u64 = 4_096 * MIB;
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
/// Redirects that one request of a plugin follows.
pub const REDIRECTS_MAX: u32 = 5;
/// Rows that one poll asks a source for.
pub const POLL_ROWS_MAX: u32 = 65_536;
/// Bytes that one poll asks a source for.
pub const POLL_BYTES_MAX: u64 = 64 * MIB;
