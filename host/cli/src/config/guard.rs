//! `[pipeline.NAME.guard]`: how a champion is held against the version before it.

use tidegate_policy::GuardSettings;

use super::section::Section;

/// The settings of the table, or the usual ones; `None` where no champion is guarded. Whether rows depend on each other is the gate's
/// to say.
pub(super) fn guard(section: &Section<'_>) -> Option<GuardSettings> {
    let mut guard = GuardSettings::usual();
    let Some(section) = section.section("guard") else { return Some(guard) };
    guard.rows_max = section.integer("rows_max", 0..=100_000_000).unwrap_or(guard.rows_max);
    guard.alpha = section.number("alpha", 0.000_001..=0.5).unwrap_or(guard.alpha);
    guard.margin = section.number("margin", 0.0..=1.0).unwrap_or(guard.margin);
    section.finish();
    (guard.rows_max > 0).then_some(guard)
}
