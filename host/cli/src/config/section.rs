//! Reads one table of the file: every value with its place, its bounds and, for a key nobody asked for, the nearest one.
//!
//! Invariant: a section never guesses. A value that is absent is `None`; a value that is present and wrong is `None` too and
//! leaves a [`Problem`], so that one look at the file finds all of them. [`Section::finish`] refuses every key that was not read.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A key further from the typed one than this is no use as a hint.
const HINT_SIMILARITY_MIN: f64 = 0.75;

/// One thing that is wrong in a file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong, as a sentence without a full stop.
    pub message: String,
    /// What to write under the place.
    pub label: String,
    /// Bytes of the file.
    pub span: Range<usize>,
    /// The way out.
    pub hint: Option<String>,
}

/// Where the problems of one file are gathered.
#[derive(Debug, Default)]
pub struct Problems {
    found: RefCell<Vec<Problem>>,
    /// Every key that was asked for, by its dotted name: a test walks them.
    #[cfg(test)]
    pub asked: RefCell<BTreeSet<String>>,
}

impl Problems {
    /// Adds one.
    pub fn push(&self, problem: Problem) {
        self.found.borrow_mut().push(problem);
    }

    /// All of them, in the order of the file.
    pub fn into_sorted(self) -> Vec<Problem> {
        let mut problems = self.found.into_inner();
        problems.sort_by_key(|problem| (problem.span.start, problem.span.end));
        problems
    }
}

/// A value with its place in the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// Bytes of the file.
    pub span: Range<usize>,
}

/// One table of the file.
#[derive(Debug)]
pub struct Section<'a> {
    /// Its dotted name, such as `pipeline.rain.gate`; empty for the whole file.
    pub path: String,
    /// Where it is.
    pub span: Range<usize>,
    table: &'a DeTable<'a>,
    asked: RefCell<BTreeSet<String>>,
    problems: &'a Problems,
}

impl<'a> Section<'a> {
    /// The table `table`, called `path`.
    pub fn new(path: impl Into<String>, table: &'a DeTable<'a>, span: Range<usize>, problems: &'a Problems) -> Section<'a> {
        Section { path: path.into(), span, table, asked: RefCell::default(), problems }
    }

    /// Reports something wrong at `span`.
    pub fn problem(&self, span: Range<usize>, message: impl Into<String>, label: impl Into<String>, hint: Option<String>) {
        self.problems.push(Problem { message: message.into(), label: label.into(), span, hint });
    }

    /// The keys of the table in the order of the file, with their places; they count as read.
    pub fn keys(&self) -> Vec<Placed<String>> {
        let mut keys: Vec<_> = self.table.keys().map(|key| Placed { value: key.get_ref().to_string(), span: key.span() }).collect();
        keys.sort_by_key(|key| key.span.start);
        self.asked.borrow_mut().extend(keys.iter().map(|key| key.value.clone()));
        keys
    }

    /// Whether the table has the key; does not count as reading it.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// The place of a key that is there, for problems found later.
    pub fn place(&self, key: &str) -> Range<usize> {
        self.table.get(key).map_or(self.span.clone(), Spanned::span)
    }

    /// `key` as messages name it: `[pipeline.rain.gate] rows_min`.
    pub fn named(&self, key: &str) -> String {
        if self.path.is_empty() { format!("`{key}`") } else { format!("`[{}] {key}`", self.path) }
    }

    fn child_path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn raw(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.borrow_mut().insert(key.to_owned());
        #[cfg(test)]
        self.problems.asked.borrow_mut().insert(self.child_path(key));
        self.table.get(key)
    }

    fn wrong_type(&self, key: &str, expected: &str, found: &Spanned<DeValue<'_>>) {
        let message = format!("{} must be {expected}, found {}", self.named(key), describe(found.get_ref()));
        self.problem(found.span(), message, format!("expected {expected}"), None);
    }

    /// A text.
    pub fn text(&self, key: &str) -> Option<Placed<String>> {
        let found = self.raw(key)?;
        match found.get_ref() {
            DeValue::String(text) => Some(Placed { value: text.to_string(), span: found.span() }),
            _ => {
                self.wrong_type(key, "text", found);
                None
            }
        }
    }

    /// A text that `parse` understands; `expected` says what that is.
    pub fn parsed<T>(&self, key: &str, expected: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = self.text(key)?;
        let parsed = parse(&text.value);
        if parsed.is_none() {
            let message = format!("{} must be {expected}, found `{}`", self.named(key), shown(&text.value));
            self.problem(text.span, message, format!("expected {expected}"), None);
        }
        parsed
    }

    /// One of some words.
    pub fn choice<T: Clone>(&self, key: &str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?;
        if let Some((_, choice)) = choices.iter().find(|(word, _)| *word == text.value) {
            return Some(choice.clone());
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let message = format!("{} cannot be `{}`", self.named(key), shown(&text.value));
        self.problem(text.span, message, format!("expected {}", one_of(&words)), nearest_hint(&text.value, &words));
        None
    }

    /// Yes or no.
    pub fn flag(&self, key: &str) -> Option<bool> {
        let found = self.raw(key)?;
        let flag = found.get_ref().as_bool();
        if flag.is_none() {
            self.wrong_type(key, "`true` or `false`", found);
        }
        flag
    }

    /// A whole number within bounds.
    pub fn integer(&self, key: &str, bounds: RangeInclusive<u64>) -> Option<u64> {
        let found = self.raw(key)?;
        self.integer_of(key, found, bounds)
    }

    fn integer_of(&self, key: &str, found: &Spanned<DeValue<'_>>, bounds: RangeInclusive<u64>) -> Option<u64> {
        let expected = format!("a whole number from {} to {}", grouped(*bounds.start()), grouped(*bounds.end()));
        let number = match found.get_ref() {
            DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        match number {
            Some(number) if u64::try_from(number).is_ok_and(|number| bounds.contains(&number)) => u64::try_from(number).ok(),
            _ => {
                self.wrong_type(key, &expected, found);
                None
            }
        }
    }

    /// A number within bounds; whole numbers count.
    pub fn number(&self, key: &str, bounds: RangeInclusive<f64>) -> Option<f64> {
        let found = self.raw(key)?;
        let number = number_of(found.get_ref());
        match number {
            Some(number) if bounds.contains(&number) => Some(number),
            _ => {
                let expected = if bounds.start().is_infinite() && bounds.end().is_infinite() {
                    "a finite number".to_owned()
                } else {
                    format!("a number from {} to {}", bounds.start(), bounds.end())
                };
                self.wrong_type(key, &expected, found);
                None
            }
        }
    }

    /// A number of bytes within bounds: a whole number, or a text such as `256MiB`.
    pub fn bytes(&self, key: &str, bounds: RangeInclusive<u64>) -> Option<u64> {
        let found = self.raw(key)?;
        let bytes = match found.get_ref() {
            DeValue::String(text) => super::value::parse_bytes(text),
            DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        let (low, high) = (super::value::show_bytes(*bounds.start()), super::value::show_bytes(*bounds.end()));
        let in_bounds = bytes.filter(|bytes| bounds.contains(bytes));
        if in_bounds.is_none() {
            self.wrong_type(key, &format!("a size such as `256MiB`, from {low} to {high}"), found);
        }
        in_bounds
    }

    /// A list of texts.
    pub fn texts(&self, key: &str) -> Option<Vec<Placed<String>>> {
        let found = self.raw(key)?;
        let texts = found.get_ref().as_array().and_then(|array| {
            array
                .iter()
                .map(|item| item.get_ref().as_str().map(|text| Placed { value: text.to_owned(), span: item.span() }))
                .collect::<Option<Vec<_>>>()
        });
        if texts.is_none() {
            self.wrong_type(key, "a list of texts", found);
        }
        texts
    }

    /// A list of whole numbers, each within bounds.
    pub fn integers(&self, key: &str, bounds: RangeInclusive<u64>) -> Option<Vec<Placed<u64>>> {
        let found = self.raw(key)?;
        let Some(array) = found.get_ref().as_array() else {
            self.wrong_type(key, "a list of whole numbers", found);
            return None;
        };
        let item =
            |item: &Spanned<DeValue<'_>>| self.integer_of(key, item, bounds.clone()).map(|value| Placed { value, span: item.span() });
        array.iter().map(item).collect()
    }

    /// A table below this one.
    pub fn section(&self, key: &str) -> Option<Section<'a>> {
        let found = self.raw(key)?;
        match found.get_ref() {
            DeValue::Table(table) => Some(Section::new(self.child_path(key), table, found.span(), self.problems)),
            _ => {
                self.wrong_type(key, "a table", found);
                None
            }
        }
    }

    /// A list of tables below this one; an absent key is an empty list.
    pub fn sections(&self, key: &str) -> Vec<Section<'a>> {
        let Some(found) = self.raw(key) else { return Vec::new() };
        let Some(array) = found.get_ref().as_array() else {
            self.wrong_type(key, "a list of tables", found);
            return Vec::new();
        };
        let mut sections = Vec::with_capacity(array.len());
        for item in array {
            match item.get_ref() {
                DeValue::Table(table) => sections.push(Section::new(self.child_path(key), table, item.span(), self.problems)),
                _ => self.wrong_type(key, "a list of tables", item),
            }
        }
        sections
    }

    /// Whether the value under `key` is a text, for keys that take a word or something else.
    pub fn is_text(&self, key: &str) -> bool {
        self.table.get(key).is_some_and(|value| value.get_ref().is_str())
    }

    /// A table handed on as it is, for a plugin: its own schema judges it. Dates become texts.
    pub fn json(&self, key: &str) -> Option<Placed<Value>> {
        let found = self.raw(key)?;
        if !found.get_ref().is_table() {
            self.wrong_type(key, "a table", found);
            return None;
        }
        Some(Placed { value: json_of(found.get_ref()), span: found.span() })
    }

    /// Reports that `key` is missing, and what it is for.
    pub fn missing(&self, key: &str, what: &str, example: &str) {
        let place = if self.path.is_empty() { "the file".to_owned() } else { format!("`[{}]`", self.path) };
        self.problem(
            self.span.clone(),
            format!("{place} has no `{key}`"),
            format!("`{key}` is missing"),
            Some(format!("add `{example}`: {what}")),
        );
    }

    /// Refuses every key that was not asked for.
    pub fn finish(self) {
        let asked = self.asked.borrow();
        let known: Vec<&str> = asked.iter().map(String::as_str).collect();
        for (key, _) in self.table.iter().filter(|(key, _)| !asked.contains(key.get_ref().as_ref())) {
            let place = if self.path.is_empty() { "the file".to_owned() } else { format!("`[{}]`", self.path) };
            let hint = nearest_hint(key.get_ref(), &known).or_else(|| Some(format!("keys here: {}", list(&known))));
            self.problem(key.span(), format!("unknown key `{}` in {place}", shown(key.get_ref())), "no such key", hint);
        }
    }
}

/// `did you mean …`, when something near enough is known.
pub fn nearest_hint(typed: &str, known: &[&str]) -> Option<String> {
    let similarity = |word: &str| strsim::jaro_winkler(&typed.to_lowercase(), &word.to_lowercase());
    let nearest = known.iter().max_by(|a, b| similarity(a).total_cmp(&similarity(b)))?;
    (similarity(nearest) >= HINT_SIMILARITY_MIN).then(|| format!("did you mean `{nearest}`?"))
}

/// Words as a sentence shows them: `` `a`, `b` or `c` ``.
pub fn one_of(words: &[&str]) -> String {
    match words {
        [] => "nothing".to_owned(),
        [only] => format!("`{only}`"),
        [first @ .., last] => format!("{} or `{last}`", list(first)),
    }
}

/// Words as a list: `` `a`, `b`, `c` ``.
pub fn list(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// At most 60 characters of a text somebody typed, without control characters.
pub fn shown(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 60;
    let mut shown: String = text.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS_MAX).collect();
    if text.chars().count() > SHOWN_CHARS_MAX {
        shown.push('…');
    }
    shown
}

/// A number with its thousands apart: `18,159`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn number_of(value: &DeValue<'_>) -> Option<f64> {
    let number: f64 = match value {
        DeValue::Float(number) => number.as_str().parse().ok()?,
        // Whole numbers up to 2^53 are exact; larger ones are out of every bound here.
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok()? as f64,
        _ => return None,
    };
    number.is_finite().then_some(number)
}

fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the text `{}`", shown(text)),
        DeValue::Integer(number) => format!("`{}`", shown(&number.to_string())),
        DeValue::Float(number) => format!("`{}`", shown(number.as_str())),
        DeValue::Boolean(flag) => format!("`{flag}`"),
        DeValue::Datetime(instant) => format!("the date `{instant}`"),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// A value as JSON; a date becomes a text, and what JSON has no number for becomes null.
pub(super) fn json_of(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).map_or_else(
            |_| number.as_str().parse::<f64>().ok().and_then(serde_json::Number::from_f64).map_or(Value::Null, Value::Number),
            |number| Value::Number(number.into()),
        ),
        // JSON has no infinity and no NaN; a plugin's schema refuses the null that stands for them.
        DeValue::Float(number) => {
            number.as_str().parse::<f64>().ok().and_then(serde_json::Number::from_f64).map_or(Value::Null, Value::Number)
        }
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Datetime(instant) => Value::String(instant.to_string()),
        DeValue::Array(items) => Value::Array(items.iter().map(|item| json_of(item.get_ref())).collect()),
        DeValue::Table(table) => {
            Value::Object(table.iter().map(|(key, value)| (key.get_ref().to_string(), json_of(value.get_ref()))).collect())
        }
    }
}
