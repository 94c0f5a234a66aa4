//! What differs from run to run, replaced by a word: folders, digests, times of the real clock, seconds, process numbers.
//!
//! Instants before 2024 are of the rows or of a simulated clock, and stay.

/// Digits of a fraction up to which it is kept as it is.
const DIGITS_MAX: usize = 9;
/// Years from which on an instant is of the real clock.
const REAL_CLOCK_YEAR: u32 = 2024;

/// `text` with everything volatile replaced. `folder` is the world's.
pub fn settled(text: &str, folder: &std::path::Path) -> String {
    let text = text.replace(&folder.display().to_string(), "[folder]");
    // A table has a rule of its own under its header.
    let is_table = text.lines().any(|line| line.chars().count() > 8 && line.chars().all(|c| c == '─'));
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let line = seconds(&words(line));
        // A column is as wide as its widest cell, and a time has as many digits as it needs.
        out.push_str(if is_table { squeezed(&line) } else { line }.trim_end());
        out.push('\n');
    }
    out
}

/// Replaces words that are digests, instants, microseconds and process numbers.
fn words(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while !rest.is_empty() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '.' | '-');
        let start = rest.find(is_word).unwrap_or(rest.len());
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(end);
        let last_is_number = out.ends_with("process ");
        // Full stops and colons around a word are no part of it.
        let bare = word.trim_start_matches([':', '.', '-']);
        out.push_str(&word[..word.len() - bare.len()]);
        let behind = bare.len() - bare.trim_end_matches(['.', ':', '-']).len();
        let (bare, punctuation) = bare.split_at(bare.len() - behind);
        if let Some(rounded) = rounded(bare) {
            out.push_str(&rounded);
            out.push_str(punctuation);
            rest = tail;
            continue;
        }
        out.push_str(match bare {
            "" => "",
            _ if is_instant(bare) => "[time]",
            _ if is_digest(bare) => "[digest]",
            _ if is_micros(bare) => "[micros]",
            _ if last_is_number && bare.bytes().all(|byte| byte.is_ascii_digit()) => "[pid]",
            _ if is_generation(bare) => "[generation]",
            _ => bare,
        });
        out.push_str(punctuation);
        rest = tail;
    }
    out
}

/// A number with all its digits, without those that depend on the mathematics library.
fn rounded(word: &str) -> Option<String> {
    let number: f64 = word.parse().ok()?;
    let digits = word.split('e').next()?.bytes().filter(u8::is_ascii_digit).count();
    (word.contains('.') && digits > DIGITS_MAX).then(|| if number.abs() < 1e-6 { format!("{number:.3e}") } else { format!("{number:.6}") })
}

fn is_instant(word: &str) -> bool {
    let shape = word.len() >= 20 && word.as_bytes()[4] == b'-' && word.as_bytes()[10] == b'T' && word.ends_with('Z');
    shape && word[..4].parse::<u32>().is_ok_and(|year| year >= REAL_CLOCK_YEAR)
}

fn is_digest(word: &str) -> bool {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    // One that was cut to fit a table may have any length.
    let long = matches!(word.len(), 12 | 32 | 64) || (word.len() > 12 && digits < word.len());
    long && digits > 0 && word.bytes().all(hex)
}

fn is_micros(word: &str) -> bool {
    word.len() == 16 && word.starts_with("17") && word.bytes().all(|byte| byte.is_ascii_digit())
}

/// The inode and the digest of the first line of a file.
fn is_generation(word: &str) -> bool {
    word.split_once('-').is_some_and(|(inode, digest)| inode.bytes().all(|byte| byte.is_ascii_digit()) && is_digest(digest))
}

/// Replaces a number of seconds, as text (`5.0 s`), in JSON (`"seconds": 1.25`) and in the table of a backtest.
fn seconds(line: &str) -> String {
    if let Some((before, after)) = line.split_once("\"seconds\": ") {
        let comma = if after.ends_with(',') { "," } else { "" };
        return format!("{before}\"seconds\": [seconds]{comma}");
    }
    // The seconds of a replay are the last cell of its row.
    if (line.contains(" tidegate ") || line.starts_with(|c: char| c.is_whitespace()) && line.contains('='))
        && line.trim_end().rsplit(' ').next().is_some_and(|cell| cell.contains('.') && cell.parse::<f64>().is_ok())
    {
        let cell = line.trim_end().rfind(' ').map_or(0, |at| at + 1);
        return format!("{}[seconds]", &line[..cell]);
    }
    let parts: Vec<&str> = line.split(' ').collect();
    let is_seconds = |index: usize| {
        let unit = parts.get(index + 1).is_some_and(|unit| unit.trim_end_matches([',', ';']) == "s");
        unit && parts[index].contains('.') && parts[index].parse::<f64>().is_ok()
    };
    let is_size = |index: usize| {
        let unit = parts.get(index + 1).is_some_and(|unit| matches!(unit.trim_end_matches([',', ';']), "kB" | "MB" | "GB"));
        unit && parts[index].contains('.') && parts[index].parse::<f64>().is_ok()
    };
    let settled = |index: usize| match parts[index] {
        _ if is_seconds(index) => "[seconds]",
        _ if is_size(index) => "[size]",
        part => part,
    };
    let parts: Vec<&str> = (0..parts.len()).map(settled).collect();
    parts.join(" ")
}

/// Runs of blanks and rules, shortened.
fn squeezed(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut run = 0;
    for c in line.chars() {
        run = if out.ends_with(c) { run + 1 } else { 0 };
        if !(matches!(c, ' ' | '─') && run >= 2) {
            out.push(c);
        }
    }
    out
}

#[test]
fn volatile_text_is_replaced_and_the_rest_stays() {
    let check = |text: &str, expected: &str| assert_eq!(settled(text, std::path::Path::new("/tmp/world")), format!("{expected}\n"));
    check("in `/tmp/world/state`", "in `[folder]/state`");
    check("at 2026-11-23T12:20:57.09696Z: done", "at [time]: done");
    check("until 2001-05-01T00:00:00Z", "until 2001-05-01T00:00:00Z");
    check("weights 1f2b32f2a1c7, of 1,200 rows", "weights [digest], of 1,200 rows");
    check("held by tidegate, process 18685", "held by tidegate, process [pid]");
    check("it ran 0.2 s, `call_ms_max` is 200", "it ran [seconds] s, `call_ms_max` is 200");
    check("7 files, 287.1 kB, are in", "7 files, [size] kB, are in");
    check("  \"seconds\": 0.345,", "  \"seconds\": [seconds],");
    check("{\"at\":1795436457250283}", "{\"at\":[micros]}");
    check("\"alpha\": 0.01666666666666668,", "\"alpha\": 0.016667,");
    check("p = 2.9912345678901e-40", "p = 2.991e-40");
    check("deadbeefcafe stays, it is a word", "deadbeefcafe stays, it is a word");
}
