//! `[pipeline.NAME.estimate]`: quality before labels come.

use super::section::Section;

/// Rows of one estimate where nobody says otherwise.
const WINDOW_ROWS: u64 = 500;

/// `[pipeline.NAME.estimate]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EstimateConfig {
    /// Rows of one estimate; 0 for none.
    pub window_rows: u64,
}

impl Default for EstimateConfig {
    fn default() -> EstimateConfig {
        EstimateConfig { window_rows: WINDOW_ROWS }
    }
}

pub(super) fn estimate(section: &Section<'_>) -> EstimateConfig {
    let Some(section) = section.section("estimate") else { return EstimateConfig::default() };
    let window_rows = section.integer("window_rows", 0..=10_000_000).unwrap_or(WINDOW_ROWS);
    if (1..100).contains(&window_rows) {
        let message = format!("`[{}] window_rows` is {window_rows}, of which nothing can be estimated", section.path);
        section.problem(section.place("window_rows"), message, "expected 0 for no estimates, or 100 or more", None);
    }
    section.finish();
    EstimateConfig { window_rows }
}
