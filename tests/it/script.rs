//! The language of a scenario's `command` file: one line, one act.
//!
//! - `tidegate ARGUMENTS`: runs the binary; what it printed becomes part of the transcript.
//! - `rows FILE COUNT SEED [noise=X] [flipped] [wind=X] [berths] [late]`: appends generated rows, with a header where the file is new; `wind`
//!   is added to their wind once their label is known; with `berths` they have one more column, `north`, or on every fifth day `south`,
//!   where nothing is flipped; `late` leaves every tenth without its label.
//! - `constant FILE COUNT SEED`: the same, all with the label 1.
//! - `write FILE TEXT`, `append FILE TEXT`: bytes, with the escapes `\n`, `\t`, `\\` and `\xNN`.
//! - `replace FILE OTHER`: another file takes the name, as an editor or a log rotation does it.
//! - `remove PATH`: a file, or a folder with all that is in it.
//! - `forge FILE OLD => NEW`: changes bytes of a file to others of the same length, wherever they are.
//! - `tamper FOLDER`: flips a bit in the middle of every file of a folder.
//! - `change OLD => NEW`: changes the one place in `tidegate.toml` that says OLD; NEW has the same escapes.
//! - `settings TEXT`: adds lines to `tidegate.toml`, with the same escapes.
//! - `guest NAME`: puts a guest that is not shipped into the plugin folder.
//! - `warns TEXT`: the next command may log warnings and errors that hold TEXT; any other fails the scenario.
//! - a line that starts with `#` is a remark.

use crate::host::World;
use crate::rows::{HEADER, Rows};
use crate::volatile::settled;

/// Runs a script in a world, and returns the transcript.
pub fn play(script: &str, world: &World) -> Result<String, String> {
    let mut transcript = String::new();
    let mut warns: Vec<&str> = Vec::new();
    for line in script.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "tidegate" => {
                let ended = world.run(arguments(rest).iter().map(String::as_str));
                unexpected_warnings(&ended.stderr, &warns).map_err(|warning| format!("`{line}` logged `{warning}`"))?;
                warns.clear();
                transcript.push_str(&format!("$ {line}\n"));
                transcript.push_str(&settled(&ended.stdout, world.folder()));
                for line in settled(&ended.stderr, world.folder()).lines() {
                    transcript.push_str(&format!("{}\n", format!("! {line}").trim_end()));
                }
                let code = ended.code.map_or_else(|| "ended by a signal".to_owned(), |code| format!("exit {code}"));
                transcript.push_str(&format!("= {code}\n\n"));
            }
            "warns" => warns.push(rest),
            _ => act(verb, rest, world).map_err(|why| format!("`{line}`: {why}"))?,
        }
    }
    Ok(transcript)
}

fn act(verb: &str, rest: &str, world: &World) -> Result<(), String> {
    let (file, text) = rest.split_once(' ').unwrap_or((rest, ""));
    match verb {
        "rows" => rows(file, text, false, world)?,
        "constant" => rows(file, text, true, world)?,
        "write" => world.write(file, unescaped(text)),
        "append" => {
            let before = std::fs::read(world.path(file)).unwrap_or_default();
            append(world, file, before, &unescaped(text));
        }
        "replace" => std::fs::rename(world.path(text), world.path(file)).map_err(|error| error.to_string())?,
        "remove" => {
            let path = world.path(file);
            let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
            removed.map_err(|error| error.to_string())?;
        }
        "guest" => world.add_guest(file),
        "forge" => forge(file, text, world)?,
        "tamper" => tamper(file, world)?,
        "change" => {
            let (old, new) = rest.split_once(" => ").ok_or("expected OLD => NEW")?;
            let settings = world.read("tidegate.toml");
            if settings.matches(old).count() != 1 {
                return Err(format!("the settings hold that {} times, expected once", settings.matches(old).count()));
            }
            let (before, after) = settings.split_once(old).unwrap_or_default();
            world.write("tidegate.toml", [before.as_bytes(), &unescaped(new), after.as_bytes()].concat());
        }
        "settings" => {
            let before = world.read("tidegate.toml").into_bytes();
            world.write("tidegate.toml", [&before[..], &unescaped(rest), b"\n"].concat());
        }
        _ => return Err("there is no such act".to_owned()),
    }
    Ok(())
}

/// Bytes are added to the file itself, as whatever writes it would do.
fn append(world: &World, file: &str, before: Vec<u8>, more: &[u8]) {
    use std::io::Write as _;
    if before.is_empty() {
        return world.write(file, more);
    }
    world.make_own(file);
    let mut file = std::fs::OpenOptions::new().append(true).open(world.path(file)).unwrap();
    file.write_all(more).unwrap();
}

fn forge(file: &str, text: &str, world: &World) -> Result<(), String> {
    let (old, new) = text.split_once(" => ").ok_or("expected OLD => NEW")?;
    assert_eq!(old.len(), new.len(), "a forgery keeps the length");
    let mut bytes = std::fs::read(world.path(file)).map_err(|error| error.to_string())?;
    let places: Vec<usize> = bytes.windows(old.len()).enumerate().filter(|(_, found)| *found == old.as_bytes()).map(|(at, _)| at).collect();
    places.iter().for_each(|at| bytes[*at..*at + new.len()].copy_from_slice(new.as_bytes()));
    if places.is_empty() {
        return Err("the file does not hold that".to_owned());
    }
    world.write(file, bytes);
    Ok(())
}

fn tamper(folder: &str, world: &World) -> Result<(), String> {
    for entry in world.path(folder).read_dir().map_err(|error| error.to_string())? {
        let path = entry.map_err(|error| error.to_string())?.path();
        let Ok(mut bytes) = std::fs::read(&path) else { continue };
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn rows(file: &str, text: &str, constant: bool, world: &World) -> Result<(), String> {
    let before = std::fs::read(world.path(file)).unwrap_or_default();
    let lines = before.iter().filter(|byte| **byte == b'\n').count() as u64;
    let words: Vec<&str> = text.split(' ').collect();
    let [count, seed, ref more @ ..] = words[..] else { return Err("expected COUNT SEED".to_owned()) };
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("`{text}`: {error}"));
    let noise = more.iter().find_map(|word| word.strip_prefix("noise="));
    let noise = noise.map_or(Ok(0.1), |noise| noise.parse().map_err(|_| format!("`{noise}` is no number")))?;
    let rows =
        Rows { first_day: lines.saturating_sub(1), count: number(count)?, seed: number(seed)?, noise, flipped: more.contains(&"flipped") };
    let header = if before.is_empty() { HEADER.to_owned() } else { String::new() };
    let lines = if constant { rows.lines().replace(",0\n", ",1\n") } else { rows.lines() };
    let wind = more.iter().find_map(|word| word.strip_prefix("wind="));
    let wind = wind.map_or(Ok(0.0), |wind| wind.parse::<f64>().map_err(|_| format!("`{wind}` is no number")))?;
    let moved = |line: &str| {
        let mut cells: Vec<String> = line.split(',').map(str::to_owned).collect();
        cells[1] = format!("{:.4}", cells[1].parse::<f64>().unwrap_or_default() + wind);
        cells.join(",") + "\n"
    };
    let lines = if wind == 0.0 { lines } else { lines.lines().map(moved).collect() };
    let lines = if more.contains(&"late") { lines.lines().map(late).collect() } else { lines };
    let (header, lines) = match more.contains(&"berths") {
        true => (header.replace('\n', ",berth\n"), lines.lines().map(|line| berthed(line, more.contains(&"flipped"))).collect()),
        false => (header, lines),
    };
    append(world, file, before, format!("{header}{lines}").as_bytes());
    Ok(())
}

fn day_of(line: &str) -> u64 {
    line.split(',').next().and_then(|day| day.parse().ok()).unwrap_or_default()
}

/// A row, without its label on every tenth day.
fn late(line: &str) -> String {
    let (rest, label) = line.rsplit_once(',').unwrap_or((line, ""));
    format!("{rest},{}\n", if day_of(line) % 10 == 3 { "" } else { label })
}

/// A row with its berth; at the southern one it is as if nothing had been flipped.
fn berthed(line: &str, flipped: bool) -> String {
    let (rest, label) = line.rsplit_once(',').unwrap_or((line, ""));
    match (day_of(line).is_multiple_of(5), label) {
        (false, _) => format!("{rest},{label},north\n"),
        (true, "0" | "1") if flipped => format!("{rest},{},south\n", if label == "0" { "1" } else { "0" }),
        (true, _) => format!("{rest},{label},south\n"),
    }
}

/// Words, with single quotes around those that hold blanks.
fn arguments(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match (byte, if byte == b'\\' { bytes.next() } else { None }) {
            (b'\\', Some(b'n')) => out.push(b'\n'),
            (b'\\', Some(b't')) => out.push(b'\t'),
            (b'\\', Some(b'x')) => {
                let digits: String = bytes.by_ref().take(2).map(char::from).collect();
                out.push(u8::from_str_radix(&digits, 16).expect("two hexadecimal digits behind `\\x`"));
            }
            (b'\\', Some(other)) => out.push(other),
            (other, _) => out.push(other),
        }
    }
    out
}

/// The first log line at WARN or ERROR that nothing announced.
fn unexpected_warnings(stderr: &str, announced: &[&str]) -> Result<(), String> {
    let is_serious = |line: &&str| {
        let text = line.split_whitespace().nth(1).is_some_and(|level| matches!(level, "WARN" | "ERROR"));
        text || line.contains("\"level\":\"WARN\"") || line.contains("\"level\":\"ERROR\"")
    };
    match stderr.lines().filter(is_serious).find(|line| !announced.iter().any(|text| line.contains(text))) {
        Some(line) => Err(line.to_owned()),
        None => Ok(()),
    }
}
