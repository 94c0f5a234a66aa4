//! A guard: does the version before answer better than the champion that took its place?
//!
//! A gate and a canary look before a version serves everybody; what they could not see comes out with the labels of what it answers.
//! Both versions are asked about the same rows. Where exactly one of them is right, that one wins the row; a champion that is no
//! worse wins at least half. Rows in time are alike, so that whole blocks of them are won or lost.
//!
//! The test is sequential: with `w` blocks lost and `b` won, `Λ = ∫ 2·p^w·(1−p)^b dp / ½^(w+b)` over `p` in ½ to 1 is a supermartingale
//! as long as a block is lost with probability ½ at most, so that it ever reaches `1/α` with probability `α` at most (Ville). Looking
//! after every row costs nothing.

use std::f64::consts::LN_2;

use serde::{Deserialize, Serialize};
use statrs::function::beta::{checked_beta_reg, ln_beta};

use crate::sentence::{count, percent};

/// How a champion is guarded.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GuardSettings {
    /// Rows with a label after which nobody doubts it any more.
    pub rows_max: u64,
    /// The chance to take back a champion that is no worse.
    pub alpha: f64,
    /// The least loss that is worth it, as a share of the rows.
    pub margin: f64,
    /// Rows that are won or lost together; 1 where they are declared independent.
    pub block_rows: u64,
}

impl GuardSettings {
    /// Rows of a block where they depend on each other: of what a row keeps of the row before, even nine tenths are gone after so many.
    pub const BLOCK_ROWS: u64 = 64;

    /// 5,000 rows, 0.01, one point, for rows in time.
    pub fn usual() -> GuardSettings {
        GuardSettings { rows_max: 5_000, alpha: 0.01, margin: 0.01, block_rows: GuardSettings::BLOCK_ROWS }
    }
}

/// What has come out about a champion and the version before. Plain numbers, so that it survives a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GuardTally {
    /// Rows whose label is known and that both were asked about.
    pub rows: u64,
    /// Of these, rows that the champion answered rightly.
    pub right: u64,
    /// Rows that the version before would have answered rightly.
    pub before_right: u64,
    /// Blocks that the champion won.
    pub won: u64,
    /// Blocks that it lost.
    pub lost: u64,
    filling: (u64, i64),
}

/// What a guard says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuardVerdict {
    /// Nothing yet.
    Watching,
    /// The version before is better: it serves again.
    TakeBack,
    /// All rows have been seen, and nothing was found.
    Settled,
}

impl GuardTally {
    /// Takes in one row: whether the champion and the version before were right about it.
    pub fn record(&mut self, right: bool, before_right: bool, settings: &GuardSettings) {
        self.rows += 1;
        self.right += u64::from(right);
        self.before_right += u64::from(before_right);
        let (rows, lead) = (self.filling.0 + 1, self.filling.1 + i64::from(right) - i64::from(before_right));
        if rows < settings.block_rows {
            self.filling = (rows, lead);
            return;
        }
        self.filling = (0, 0);
        match lead.signum() {
            1 => self.won += 1,
            -1 => self.lost += 1,
            _ => {}
        }
    }

    /// How many rows in a hundred are lost, as a share; negative where the champion is better.
    pub fn loss(&self) -> f64 {
        if self.rows == 0 { 0.0 } else { (self.before_right as f64 - self.right as f64) / self.rows as f64 }
    }

    /// What to do, and why.
    pub fn look(&self, settings: &GuardSettings) -> (GuardVerdict, String) {
        let found = |rows: u64, right: u64| percent(if rows == 0 { 0.0 } else { right as f64 / rows as f64 });
        let unit = match settings.block_rows {
            1 => "rows on which they differ".to_owned(),
            rows => format!("blocks of {} rows in which they differ", count(rows)),
        };
        let seen = format!(
            "right about {} of {} rows, and the version before would have been about {}; of {} {unit}, it lost {}",
            found(self.rows, self.right),
            count(self.rows),
            found(self.rows, self.before_right),
            count(self.won + self.lost),
            count(self.lost),
        );
        let evidence = log_evidence(self.lost, self.won);
        if self.loss() >= settings.margin && evidence >= -settings.alpha.ln() {
            let p = (-evidence).exp().min(1.0);
            return (GuardVerdict::TakeBack, format!("taken back: {seen}, p = {p:.2e} against {}", settings.alpha));
        }
        match self.rows >= settings.rows_max {
            true => (GuardVerdict::Settled, format!("settled: {seen}")),
            false => (GuardVerdict::Watching, format!("watched for {} of {} rows: {seen}", count(self.rows), count(settings.rows_max))),
        }
    }
}

/// `ln Λ` of the module's test.
fn log_evidence(lost: u64, won: u64) -> f64 {
    let (w, b) = (lost as f64, won as f64);
    // `1 − I_½(w + 1, b + 1)`, which keeps its digits the other way round.
    let above_half = checked_beta_reg(b + 1.0, w + 1.0, 0.5).unwrap_or(0.0);
    LN_2 + ln_beta(w + 1.0, b + 1.0) + above_half.ln() + (w + b) * LN_2
}

#[cfg(test)]
mod tests {
    use rand::RngExt as _;
    use tidegate_vocab::Seed;

    use super::*;

    fn independent() -> GuardSettings {
        GuardSettings { block_rows: 1, ..GuardSettings::usual() }
    }

    #[track_caller]
    fn check(rows: &[(u64, bool, bool)], settings: GuardSettings, verdict: GuardVerdict, reason: &str) {
        let mut tally = GuardTally::default();
        for (times, right, before_right) in rows {
            (0..*times).for_each(|_| tally.record(*right, *before_right, &settings));
        }
        assert_eq!(tally.look(&settings), (verdict, reason.to_owned()));
    }

    #[test]
    fn verdicts_say_what_was_seen() {
        use GuardVerdict::{Settled, TakeBack, Watching};
        check(
            &[],
            independent(),
            Watching,
            "watched for 0 of 5,000 rows: right about 0.0 % of 0 rows, and the version before would have been about 0.0 %; of 0 rows on \
             which they differ, it lost 0",
        );
        check(
            &[(70, true, true), (20, false, true), (10, false, false)],
            independent(),
            TakeBack,
            "taken back: right about 70.0 % of 100 rows, and the version before would have been about 90.0 %; of 20 rows on which they \
             differ, it lost 20, p = 1.00e-5 against 0.01",
        );
        // The same rows one after the other are few blocks.
        check(
            &[(70, true, true), (20, false, true), (10, false, false)],
            GuardSettings { block_rows: 16, ..GuardSettings::usual() },
            Watching,
            "watched for 100 of 5,000 rows: right about 70.0 % of 100 rows, and the version before would have been about 90.0 %; of 2 blocks \
             of 16 rows in which they differ, it lost 2",
        );
        check(
            &[(4_960, true, true), (40, false, true)],
            independent(),
            Settled,
            "settled: right about 99.2 % of 5,000 rows, and the version before would have been about 100.0 %; of 40 rows on which they \
             differ, it lost 40",
        );
        check(
            &[(60, true, true), (20, true, false), (20, false, true)],
            GuardSettings { rows_max: 100, ..independent() },
            Settled,
            "settled: right about 80.0 % of 100 rows, and the version before would have been about 80.0 %; of 40 rows on which they differ, it \
             lost 20",
        );
    }

    #[test]
    fn the_evidence_is_the_integral() {
        let summed = |lost: u64, won: u64| {
            let steps = 200_000;
            let of = |step: i32| 0.5 + 0.5 * (f64::from(step) + 0.5) / f64::from(steps);
            let density = |p: f64| 2.0 * (2.0 * p).powi(lost as i32) * (2.0 * (1.0 - p)).powi(won as i32);
            ((0..steps).map(|step| density(of(step))).sum::<f64>() * 0.5 / f64::from(steps)).ln()
        };
        for (lost, won) in [(0, 0), (1, 0), (0, 3), (20, 5), (40, 40), (90, 60)] {
            let (found, expected) = (log_evidence(lost, won), summed(lost, won));
            assert!((found - expected).abs() < 1e-6, "{lost} lost, {won} won: {found}, {expected}");
        }
        assert_eq!(log_evidence(0, 100_000), f64::NEG_INFINITY, "a champion that wins is no danger to itself");
    }

    /// The share of champions that are taken back at any of 5,000 looks.
    fn taken_back(loses: f64, champions: u64) -> f64 {
        let settings = independent();
        let mut rng = Seed(7).rng("guard");
        let mut one = |_: u64| {
            let mut tally = GuardTally::default();
            for _ in 0..settings.rows_max {
                // The two disagree on 8 rows in 100.
                let (differ, lost) = (rng.random::<f64>() < 0.08, rng.random::<f64>() < loses);
                tally.record(!(differ && lost), !differ || lost, &settings);
                if differ && tally.look(&settings).0 == GuardVerdict::TakeBack {
                    return true;
                }
            }
            false
        };
        (0..champions).filter(|number| one(*number)).count() as f64 / champions as f64
    }

    #[test]
    fn an_equal_champion_stays_and_a_worse_one_is_found() {
        let (equal, worse) = (taken_back(0.5, 1_000), taken_back(0.75, 100));
        assert!(equal <= 0.01 + 2.0 * (0.01f64 * 0.99 / 1_000.0).sqrt(), "{equal} of equal champions were taken back");
        assert!(worse >= 0.99, "{worse} of champions that lose 4 points were");
    }
}
