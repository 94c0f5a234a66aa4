//! How a command ends badly: one error, its causes, a place in a file, a way out, an exit code.
//!
//! Invariant: this is the only module that prints errors, and it prints each once. The words carry the meaning; colour adds none.

use std::error::Error;
use std::fmt::Write as _;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource, ThemeCharacters, ThemeStyles};
use serde_json::{Value, json};

use crate::config::{ConfigError, File, Problem, ReadError};

/// Problems of one file that are shown; the rest is counted.
const PROBLEMS_SHOWN_MAX: usize = 10;

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, or nothing to do.
    Ok,
    /// An error.
    Error,
    /// Bad usage or settings.
    Usage,
    /// The gate rejected the challenger.
    Rejected,
    /// The gate needs more rows.
    Held,
}

impl Exit {
    /// The exit code.
    pub fn code(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::Error => 1,
            Exit::Usage => 2,
            Exit::Rejected => 3,
            Exit::Held => 4,
        }
    }
}

/// Why a command could not do what it was asked.
#[derive(Debug)]
pub struct Failure {
    /// How the process ends.
    pub exit: Exit,
    message: String,
    causes: Vec<String>,
    hint: Option<String>,
    place: Option<Box<Place>>,
}

#[derive(Debug)]
struct Place {
    file: File,
    problems: Vec<Problem>,
}

impl Failure {
    /// A failure from an error and the chain behind it.
    pub fn new(error: &(dyn Error + 'static), hint: Option<String>) -> Failure {
        let mut causes = Vec::new();
        let mut cause = error.source();
        while let Some(error) = cause {
            causes.push(error.to_string());
            cause = error.source();
        }
        Failure { exit: Exit::Error, message: error.to_string(), causes, hint, place: None }
    }

    /// A command that makes no sense as it was typed.
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Failure {
        Failure { exit: Exit::Usage, message: message.into(), causes: Vec::new(), hint: Some(hint.into()), place: None }
    }

    /// A failure that another process tells of.
    pub fn told(message: String, causes: Vec<String>, hint: Option<String>, is_usage: bool) -> Failure {
        let exit = if is_usage { Exit::Usage } else { Exit::Error };
        Failure { exit, message, causes, hint, place: None }
    }

    /// What went wrong, why, and the way out.
    pub fn parts(&self) -> (String, Vec<String>, Option<String>) {
        (self.message.clone(), self.causes.clone(), self.hint.clone())
    }

    /// All of it on one line, for a log.
    pub fn line(&self) -> String {
        let mut line = self.message.clone();
        self.causes.iter().for_each(|cause| line.push_str(&format!(": {cause}")));
        self.hint.iter().for_each(|hint| line.push_str(&format!(" (hint: {hint})")));
        line
    }

    /// The same with the place in the file in front, where it has one, and how many problems there are besides.
    pub fn placed_line(&self) -> String {
        let Some((place, problem)) = self.place.as_ref().and_then(|place| Some((place, place.problems.first()?))) else {
            return self.line();
        };
        let (line, column) = line_column(&place.file.text, problem.span.start);
        let more = if place.problems.len() > 1 { format!(", and {} more", place.problems.len() - 1) } else { String::new() };
        let is_placed = !problem.span.is_empty() || problem.span.start > 0;
        let at = if is_placed { format!(":{line}:{column}") } else { String::new() };
        format!("{}{at}: {}{more}", place.file.path.display(), self.line())
    }

    /// What went wrong, without its causes.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// This failure, shown at a place of a file; one that has a place already is better shown there.
    pub fn at(mut self, file: &File, span: std::ops::Range<usize>, label: &str) -> Failure {
        if self.place.is_some() {
            return self;
        }
        let problem = Problem { message: self.message.clone(), label: label.to_owned(), span, hint: self.hint.clone() };
        self.place = Some(Box::new(Place { file: file.clone(), problems: vec![problem] }));
        self
    }

    /// The failure as people read it, ending with a line feed.
    pub fn render(&self, color: bool) -> String {
        let mut out = String::new();
        let problems = self.place.as_ref().map_or(&[][..], |place| &place.problems);
        let Some(place) = self.place.as_ref().filter(|_| !problems.is_empty()) else {
            self.render_head(&mut out, &self.message, color);
            self.render_tail(&mut out, self.hint.as_deref(), &self.causes, color);
            return out;
        };
        for (index, problem) in problems.iter().take(PROBLEMS_SHOWN_MAX).enumerate() {
            if index > 0 {
                out.push('\n');
            }
            self.render_head(&mut out, &problem.message, color);
            out.push_str(&snippet(&place.file, problem, color));
            let causes = if index == 0 { &self.causes[..] } else { &[] };
            self.render_tail(&mut out, problem.hint.as_deref(), causes, color);
        }
        if problems.len() > PROBLEMS_SHOWN_MAX {
            let _ = writeln!(out, "\nand {} more", problems.len() - PROBLEMS_SHOWN_MAX);
        }
        out
    }

    fn render_head(&self, out: &mut String, message: &str, color: bool) {
        let _ = writeln!(out, "{} {message}", painted("error:", "1;31", color));
    }

    fn render_tail(&self, out: &mut String, hint: Option<&str>, causes: &[String], color: bool) {
        for cause in causes {
            let _ = writeln!(out, "  {} {cause}", painted("caused by:", "31", color));
        }
        if let Some(hint) = hint {
            let _ = writeln!(out, "\n{} {hint}", painted("hint:", "1;36", color));
        }
    }

    /// The failure as one JSON object: `error`, `causes`, `hint`, `file`, `line`, `column`, and further problems under `also`.
    pub fn json(&self) -> Value {
        let mut object = json!({
            "error": self.message,
            "causes": self.causes,
            "hint": self.hint,
            "file": null,
            "line": null,
            "column": null,
        });
        if let Some(place) = &self.place {
            object["file"] = json!(place.file.path.display().to_string());
            if let Some((first, rest)) = place.problems.split_first() {
                let (line, column) = line_column(&place.file.text, first.span.start);
                (object["error"], object["hint"]) = (json!(first.message), json!(first.hint));
                (object["line"], object["column"]) = (json!(line), json!(column));
                object["also"] = rest.iter().map(|problem| problem_json(&place.file.text, problem)).collect();
            }
        }
        object
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        let first = error.problems.first();
        Failure {
            exit: Exit::Usage,
            message: error.to_string(),
            causes: Vec::new(),
            hint: first.and_then(|problem| problem.hint.clone()),
            place: Some(Box::new(Place { file: error.file, problems: error.problems })),
        }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Failure {
        Failure { exit: Exit::Usage, ..Failure::new(&error, error.hint()) }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::new(error.as_ref(), None)
    }
}

/// Line and column of a byte, both from 1; the column counts characters.
pub fn line_column(text: &str, byte: usize) -> (usize, usize) {
    let end = (0..=byte.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    let before = &text[..end];
    let line_start = before.rfind('\n').map_or(0, |line_feed| line_feed + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

fn problem_json(text: &str, problem: &Problem) -> Value {
    let (line, column) = line_column(text, problem.span.start);
    json!({ "error": problem.message, "hint": problem.hint, "line": line, "column": column })
}

fn painted(text: &str, code: &str, color: bool) -> String {
    if color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}

/// The lines of the file around a problem, with a mark under it; nothing where the problem has no place.
fn snippet(file: &File, problem: &Problem, color: bool) -> String {
    if problem.span.is_empty() && problem.span.start == 0 {
        return format!("   in {}\n", file.path.display());
    }
    // A table's place is its header or all its lines; the first line is enough to find it.
    let end = file.text[problem.span.start.min(file.text.len())..].find('\n').map_or(file.text.len(), |end| problem.span.start + end);
    let length = problem.span.end.min(end).saturating_sub(problem.span.start);
    let label = LabeledSpan::new(Some(problem.label.clone()), problem.span.start, length);
    let source = NamedSource::new(file.path.display().to_string(), file.text.clone());
    let diagnostic = miette::Report::new(MietteDiagnostic::new("").with_label(label)).with_source_code(source);
    let styles = if color { ThemeStyles::ansi() } else { ThemeStyles::none() };
    let theme = GraphicalTheme { characters: ThemeCharacters::unicode(), styles };
    let handler = GraphicalReportHandler::new_themed(theme).with_links(false).with_context_lines(1).without_syntax_highlighting();
    let mut out = String::new();
    if handler.render_report(&mut out, diagnostic.as_ref()).is_err() {
        return String::new();
    }
    // The handler draws its own header for the empty message; the lines from the file name on are what is wanted.
    out.lines().skip_while(|line| !line.contains('╭')).map(|line| format!("{}\n", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("could not open the state folder `state`")]
    struct Outer {
        source: std::io::Error,
    }

    fn file(text: &str) -> File {
        File { path: "tidegate.toml".into(), text: text.to_owned() }
    }

    #[test]
    fn an_error_shows_causes_then_the_hint() {
        let outer = Outer { source: std::io::Error::other("the disk is full") };
        let failure = Failure::new(&outer, Some("free some space".to_owned()));
        let expected = "error: could not open the state folder `state`\n  caused by: the disk is full\n\nhint: free some space\n";
        assert_eq!(failure.render(false), expected);
        assert_eq!(failure.json()["causes"], json!(["the disk is full"]));
        assert_eq!(failure.json()["line"], Value::Null);
    }

    #[test]
    fn a_problem_points_into_the_file() {
        let text = "[pipeline.rain.gate]\nlooks_max = 3\nconfidnce = 0.95\nrows = \"arriving\"\n";
        let start = text.find("confidnce").unwrap_or_default();
        let failure = Failure::usage("unknown key `confidnce` in `[pipeline.rain.gate]`", "did you mean `confidence`?");
        let failure = failure.at(&file(text), start..start + 9, "no such key");
        let expected = "\
error: unknown key `confidnce` in `[pipeline.rain.gate]`
   ╭─[tidegate.toml:3:1]
 2 │ looks_max = 3
 3 │ confidnce = 0.95
   · ────┬────
   ·     ╰── no such key
 4 │ rows = \"arriving\"
   ╰────

hint: did you mean `confidence`?
";
        assert_eq!(failure.render(false), expected);
        let json = failure.json();
        let place = (json["file"].clone(), json["line"].clone(), json["column"].clone());
        assert_eq!(place, (json!("tidegate.toml"), json!(3), json!(1)));
        assert_eq!(failure.exit.code(), 2);
        let line = "tidegate.toml:3:1: unknown key `confidnce` in `[pipeline.rain.gate]` (hint: did you mean `confidence`?)";
        assert_eq!(failure.placed_line(), line);
        assert_eq!(Failure::usage("m", "h").placed_line(), "m (hint: h)");
    }

    #[test]
    fn colour_adds_nothing_but_colour() {
        let failure = Failure::usage("m", "h");
        let painted = failure.render(true);
        assert!(painted.contains("\u{1b}[1;31merror:\u{1b}[0m m"), "{painted:?}");
        let bare = painted.replace("\u{1b}[1;31m", "").replace("\u{1b}[1;36m", "").replace("\u{1b}[0m", "");
        assert_eq!(bare, failure.render(false));
    }

    #[test]
    fn places_count_characters() {
        assert_eq!(line_column("ä = 1\nöö = 2", "ä = 1\nö".len()), (2, 2));
        assert_eq!(line_column("", 0), (1, 1));
        assert_eq!(line_column("ä", 1), (1, 1));
        assert_eq!(line_column("a", 99), (1, 2));
    }
}
