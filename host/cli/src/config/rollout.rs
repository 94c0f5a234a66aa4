//! `[pipeline.NAME.rollout]`: how a blessed version takes over traffic.

use super::section::Section;

/// `[pipeline.NAME.rollout]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloutConfig {
    /// Requests that are mirrored before any is answered by the new version.
    pub shadow_requests: u64,
    /// Shares of traffic in percent, rising.
    pub canary: Vec<u8>,
    /// What to do when nothing arrives.
    pub on_no_traffic: OnNoTraffic,
}

/// What a rollout does when no request arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnNoTraffic {
    /// It waits.
    Hold,
}

pub(super) fn rollout(section: Section<'_>) -> RolloutConfig {
    let mut config = RolloutConfig { shadow_requests: 200, canary: vec![1, 5, 25, 50], on_no_traffic: OnNoTraffic::Hold };
    config.shadow_requests = section.integer("shadow_requests", 0..=100_000_000).unwrap_or(config.shadow_requests);
    if let Some(shares) = section.integers("canary", 1..=99) {
        let rising = shares.windows(2).all(|pair| pair[0].value < pair[1].value);
        if !rising || shares.len() > 20 {
            let message = format!("`[{}] canary` must be at most 20 shares in percent, rising", section.path);
            section.problem(section.place("canary"), message, "expected rising shares such as `[1, 5, 25, 50]`", None);
        }
        config.canary = shares.iter().filter_map(|share| u8::try_from(share.value).ok()).collect();
    }
    config.on_no_traffic = section.choice("on_no_traffic", &[("hold", OnNoTraffic::Hold)]).unwrap_or(config.on_no_traffic);
    section.finish();
    config
}
