//! Reports of made-up backtests, as all three of their forms.

use rand::RngExt as _;
use tidegate_vocab::{DecidedBy, RuleVerdict, Seed, Verdict};

use super::*;

const DAY_US: i64 = 86_400_000_000;
const START_US: i64 = -662_688_000_000_000;
const ROWS: u64 = 18_159;
const WARMUP: u64 = 1_816;

fn at(row: u64) -> Timestamp {
    Timestamp(START_US + i64::try_from(row).unwrap() * DAY_US)
}

/// A report of `settings` × `seeds`, with trainings every thousand rows.
fn sample(settings: &[&str], seeds: &[u64]) -> BacktestReport {
    let mut report = BacktestReport {
        title: "rain".to_owned(),
        axis: Axis::Time,
        row_count: ROWS,
        warmup_rows: WARMUP,
        window_rows: 1_000,
        summary: Vec::new(),
        baselines: vec![
            BaselineRow { baseline: Baseline::NoChange, accuracy: 0.680, f1: 0.482, kappa_no_change: 0.0 },
            BaselineRow { baseline: Baseline::Majority, accuracy: 0.685, f1: 0.0, kappa_no_change: 0.016 },
        ],
        lines: Vec::new(),
        trainings: Vec::new(),
        decisions: Vec::new(),
        is_tuning: false,
    };
    for (index, name) in settings.iter().enumerate() {
        for seed in seeds {
            replay(&mut report, name, *seed, 0.776 - 0.02 * index as f64);
        }
    }
    for (baseline, share) in [(Baseline::NoChange, 0.680), (Baseline::Majority, 0.685)] {
        report.lines.push(Line { who: Who::Baseline(baseline), points: line(baseline.word(), 7, share) });
    }
    report
}

fn line(purpose: &str, seed: u64, share: f64) -> Vec<Point> {
    let mut chance = Seed(seed).rng(purpose);
    let rows: Vec<ScoredRow> = (WARMUP..ROWS)
        .map(|row| {
            let season = 0.03 * (row as f64 / 1_900.0).sin();
            ScoredRow { row, at: at(row), is_right: chance.random_bool(share + season) }
        })
        .collect();
    rolling_accuracy(&rows, 1_000, 300)
}

fn replay(report: &mut BacktestReport, settings: &str, seed: u64, share: f64) {
    let who = Who::Replay { settings: settings.to_owned(), seed };
    report.lines.push(Line { who, points: line(settings, seed, share) });
    let (mut holds, mut rejections) = (0, 0);
    for index in 0..17u64 {
        let (row, version) = (WARMUP + index * 950, VersionNo(u32::try_from(index).unwrap() + 1));
        let trigger = if index % 3 == 0 { "errors changed at row 4,120" } else { "1,000 rows arrived since the last run" };
        report.trainings.push(Training { settings: settings.to_owned(), seed, row, at: at(row), version, trigger: trigger.to_owned() });
        let kind = match (index + seed) % 5 {
            0 | 2 => DecisionKind::Promote,
            4 => DecisionKind::Reject,
            _ => DecisionKind::Hold,
        };
        holds += u64::from(kind == DecisionKind::Hold);
        rejections += u64::from(kind == DecisionKind::Reject);
        let row = row + 350 + 100 * (index % 3);
        report.decisions.push(DecisionEntry { settings: settings.to_owned(), seed, row, decision: decision(kind, version, row) });
    }
    let accuracy = share + 0.001 * seed as f64;
    report.summary.push(SummaryRow {
        settings: settings.to_owned(),
        seed,
        accuracy,
        f1: 0.61,
        kappa_no_change: (accuracy - 0.68) / 0.32,
        trainings: 17,
        holds,
        rejections,
        seconds: 6.8,
    });
}

fn decision(kind: DecisionKind, version: VersionNo, row: u64) -> Decision {
    let (verdict, reason) = match kind {
        DecisionKind::Promote | DecisionKind::RollBack => (Verdict::Pass, "all 3 rules pass on 400 rows"),
        DecisionKind::Hold => (Verdict::Inconclusive, "`not-worse` is inconclusive: −0.031 is below −0.02 is below 0.024"),
        DecisionKind::Reject => (Verdict::Fail, "`not-worse` fails: 0.0214 below the champion at most"),
    };
    let rule = |rule: &str, against: &str, verdict: Verdict| RuleVerdict {
        rule: rule.to_owned(),
        verdict,
        metric: "accuracy".to_owned(),
        against: against.to_owned(),
        method: "paired-block-bootstrap".to_owned(),
        challenger: Some(0.7812),
        other: Some(0.7788),
        estimate: Some(0.0024),
        interval: Some((-0.0151, 0.0192)),
        threshold: -0.02,
        alpha: 0.0167,
        rows: 400,
        reason: "the lower bound is above the margin".to_owned(),
    };
    Decision {
        kind,
        version,
        parent: None,
        by: DecidedBy::Gate,
        at: at(row),
        run: None,
        look: 1,
        evidence: None,
        rules: vec![
            rule("not-worse", "champion", verdict),
            rule("not-worse-than-anchor", "anchor", Verdict::Pass),
            rule("not-naive", "no-change", Verdict::Pass),
        ],
        reason: reason.to_owned(),
    }
}

/// Every tag that is opened is closed, in order; tells markup from a typo in it.
fn well_formed(page: &str) {
    const VOID: [&str; 2] = ["meta", "!DOCTYPE"];
    let mut open: Vec<&str> = Vec::new();
    let style_end = page.find("</style>").unwrap();
    for tag in page[style_end + 8..].split('<').skip(1).map(|rest| rest.split('>').next().unwrap()) {
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
        if tag.starts_with('/') {
            assert!(open.pop().is_none_or(|opened| opened == name) || ["head"].contains(&name), "</{name}>");
        } else if !VOID.contains(&name) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "never closed: {open:?}");
}

#[test]
fn a_page_is_one_file_and_the_same_each_time() {
    let report = sample(&["tidegate", "no-gate"], &[0, 1, 2]);
    let text = page(&report);
    assert_eq!(text, page(&report));
    well_formed(&text);
    for loads in ["http:", "https:", "<script", "<link", "url(", "@import", "src="] {
        assert!(!text.contains(loads), "the page must not load anything, found `{loads}`");
    }
    // Both widths, each with 17 trainings and 17 decisions for each of six replays.
    assert_eq!(text.matches("class=\"training\"").count(), 2 * 6 * 17 + 1);
    assert_eq!(text.matches(">trained v").count() + text.matches(": trained v").count(), 2 * 6 * 17);
    assert!(text.contains("prefers-color-scheme: dark") && text.contains("max-width: 720px"));
    assert!(text.contains(">1960<") && text.contains(">no-change<"));
    assert!(text.len() < 1_500_000, "{} bytes", text.len());
    // For a look at it: TIDEGATE_SAMPLE_PAGE=/some/folder cargo test -p tidegate-cli a_page_is_one_file
    if let Some(folder) = std::env::var_os("TIDEGATE_SAMPLE_PAGE") {
        for (name, report) in [("six", report), ("one", sample(&["tidegate"], &[0])), ("three", sample(&["tidegate"], &[0, 1, 2]))] {
            let mut file = std::fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .open(std::path::Path::new(&folder).join(format!("{name}.html")))
                .unwrap();
            std::io::Write::write_all(&mut file, page(&report).as_bytes()).unwrap();
        }
    }
}

#[test]
fn text_of_others_cannot_become_markup() {
    let mut report = sample(&["<b>x</b>"], &[0]);
    report.title = "<script>alert(1)</script>".to_owned();
    report.trainings[0].trigger = "</title><img>".to_owned();
    report.decisions[0].decision.reason = "<i>".to_owned();
    let text = page(&report);
    for markup in ["<script", "<b>x", "<img", "<i>"] {
        assert!(!text.contains(markup), "{markup}");
    }
    well_formed(&text);
}

#[test]
fn a_report_of_nothing_is_a_page_too() {
    let mut report = sample(&[], &[]);
    report.lines.clear();
    report.baselines.clear();
    well_formed(&page(&report));
    assert_eq!(summary_json(&report), serde_json::json!([]));
}

#[test]
fn the_json_has_exactly_the_promised_keys() {
    let json = summary_json(&sample(&["tidegate"], &[0]));
    let mut keys: Vec<&str> = json[0].as_object().unwrap().keys().map(String::as_str).collect();
    let mut promised = ["settings", "seed", "accuracy", "f1", "kappa_no_change", "trainings", "holds", "rejections", "seconds"];
    keys.sort_unstable();
    promised.sort_unstable();
    assert_eq!(keys, promised);
}

#[test]
fn the_table_lists_replays_then_baselines() {
    let table = summary_table(&sample(&["tidegate"], &[0, 1]));
    let first: Vec<&str> =
        table.lines().filter_map(|line| line.split_whitespace().next()).filter(|word| word.starts_with(char::is_alphabetic)).collect();
    assert_eq!(first, ["settings", "tidegate", "tidegate", "no-change", "majority"]);
    assert!(table.contains("0.776") && table.contains("0.777") && table.contains("6.8"), "{table}");
}

#[test]
fn settings_are_worth_their_trainings_when_no_others_are_better_for_as_little() {
    let check = |figures: &[(f64, u64)], expected: &[bool]| {
        let mut report = sample(&[], &[]);
        report.is_tuning = true;
        for (index, (accuracy, trainings)) in figures.iter().enumerate() {
            let row = |seed: u64, trainings: u64| SummaryRow {
                settings: format!("s{index}"),
                seed,
                accuracy: *accuracy,
                f1: 0.5,
                kappa_no_change: 0.1,
                trainings,
                holds: 0,
                rejections: 0,
                seconds: 1.0,
            };
            report.summary.extend([row(0, trainings - 1), row(1, trainings + 1)]);
        }
        let found: Vec<bool> = tried(&report).iter().map(|tried| tried.on_frontier).collect();
        assert_eq!(found, expected, "{figures:?}");
        let marked: Vec<bool> = summary_table(&report).lines().filter(|line| line.contains(" s")).map(|line| line.contains('◂')).collect();
        assert_eq!(marked.iter().step_by(2).copied().filter(|mark| *mark).count(), expected.iter().filter(|best| **best).count());
        let json = summary_json(&report);
        assert!(
            json.as_array().unwrap().iter().zip(expected.iter().flat_map(|best| [best; 2])).all(|(row, best)| row["on_frontier"] == *best)
        );
    };
    check(&[(0.7, 8), (0.8, 16), (0.75, 16), (0.8, 20)], &[true, true, false, false]);
    check(&[(0.7, 8), (0.7, 8)], &[true, true]);
    check(&[(0.8, 8), (0.7, 8), (0.7, 9)], &[true, false, false]);
}

#[test]
fn a_page_of_a_grid_shows_the_best_by_number() {
    let mut report = sample(&["window_rows=2000", "window_rows=4000", "window_rows=8000"], &[0, 1]);
    report.is_tuning = true;
    let text = page(&report);
    well_formed(&text);
    assert_eq!(text.matches("class=\"tried").count(), 3);
    // The first is the most accurate with as many trainings as the others, so that it alone is drawn.
    assert!(text.contains("1. window_rows=2000"), "{text}");
    assert!(!text.contains("2. window_rows=4000"));
}
