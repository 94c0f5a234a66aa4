//! `[pipeline.NAME.drift]`: how rows are watched for drift.

use tidegate_policy::DriftSettings;

use super::section::Section;

/// The settings of the table, or the usual ones; `None` where drift is not to be watched. Whether rows depend on each other is the
/// gate's to say.
pub(super) fn drift(section: &Section<'_>) -> Option<DriftSettings> {
    let mut drift = DriftSettings::usual();
    let Some(section) = section.section("drift") else { return Some(drift) };
    drift.window_rows = section.integer("window_rows", 0..=10_000_000).unwrap_or(drift.window_rows);
    if (1..DriftSettings::ROWS_MIN).contains(&drift.window_rows) {
        let (rows, least) = (drift.window_rows, DriftSettings::ROWS_MIN);
        let message = format!("`[{}] window_rows` is {rows}, of which nothing can be said", section.path);
        section.problem(section.place("window_rows"), message, format!("expected 0 for no watch, or {least} or more"), None);
    }
    drift.effect_min = section.number("effect_min", 0.0..=100.0).unwrap_or(drift.effect_min);
    drift.q = section.number("q", 0.000_001..=0.5).unwrap_or(drift.q);
    section.finish();
    (drift.window_rows > 0).then_some(drift)
}
