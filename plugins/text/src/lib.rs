//! Cleaner `text`: Unicode form, whitespace and case, column by column.
//!
//! The order is fixed: case, then the Unicode form (which undoes what a change of case may have decomposed), then whitespace, so
//! that cleaning twice gives what cleaning once gave. A missing value stays missing. Row-wise: no row depends on another.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use tidegate_plugin::{Batch, Cleaner, Column, Edit, Failure, Issues, TextBuilder};
use unicode_normalization::{IsNormalized, UnicodeNormalization as _, is_nfc_quick, is_nfkc_quick};

/// The name that stands for every text feature.
const ALL: &str = "*";

/// The configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Column name, or `*`, to what is done to its text.
    pub columns: BTreeMap<String, Rule>,
}

/// What is done to the text of a column.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// The Unicode form.
    pub unicode: Unicode,
    /// What happens to whitespace.
    pub whitespace: Whitespace,
    /// The case of letters.
    pub case: Case,
    /// What a text is that has nothing left.
    pub empty: Empty,
}

/// A Unicode form (UAX 15).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unicode {
    /// As it came.
    #[default]
    Keep,
    /// Composed.
    Nfc,
    /// Composed, and compatible characters replaced: ligatures, wide letters, superscripts.
    Nfkc,
}

/// What happens to whitespace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Whitespace {
    /// It stays.
    #[default]
    Keep,
    /// None at both ends.
    Trim,
    /// None at both ends, and one blank for each run inside.
    Collapse,
}

/// The case of letters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Case {
    /// As they came.
    #[default]
    Keep,
    /// Small.
    Lower,
    /// Capital.
    Upper,
}

/// What a text is that has nothing left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Empty {
    /// Empty text.
    #[default]
    Keep,
    /// Missing.
    Missing,
}

/// The plugin.
pub struct Texts {
    columns: BTreeMap<String, Rule>,
}

tidegate_plugin::export!(Texts, cleaner);

impl Cleaner for Texts {
    type Config = Config;

    fn configure(Config { columns }: Config) -> Result<Texts, Issues> {
        let mut issues = Issues::default();
        if columns.is_empty() {
            issues.push("/columns", "no column is named; `*` stands for all features of text");
        }
        for (name, rule) in &columns {
            if *rule == Rule::default() {
                issues.push(
                    Issues::pointer(["columns", name.as_str()]),
                    "nothing is to be done to it; set `unicode`, `whitespace`, `case` or `empty`",
                );
            }
        }
        issues.or(Texts { columns })
    }

    fn clean(&self, rows: &Batch, edit: &Edit) -> Result<(), Failure> {
        for (name, rule) in self.columns.iter().filter(|(name, _)| *name != ALL) {
            let column = rows.column(name)?;
            if column.dtype() != "utf8" {
                return Err(Failure::new(format!("column `{name}` is `{}`; expected `utf8`", column.dtype())));
            }
            rule.apply(rows, name, edit)?;
        }
        let Some(rule) = self.columns.get(ALL) else { return Ok(()) };
        let is_meant =
            |column: &Column| column.role() == "feature" && column.dtype() == "utf8" && !self.columns.contains_key(column.name());
        rows.columns().filter(is_meant).try_for_each(|column| rule.apply(rows, column.name(), edit))
    }
}

impl Rule {
    /// Writes only windows in which something changed.
    fn apply(&self, rows: &Batch, name: &str, edit: &Edit) -> Result<(), Failure> {
        for window in rows.windows() {
            let column = window.column(name)?;
            let text = column.text()?;
            let (mut cleaned, mut is_changed) = (TextBuilder::new(), false);
            for cell in text.iter() {
                match cell.map(|cell| (cell, self.cleaned(cell))) {
                    None => cleaned.push_missing(),
                    Some((_, after)) if after.is_empty() && self.empty == Empty::Missing => {
                        is_changed = true;
                        cleaned.push_missing();
                    }
                    Some((before, after)) => {
                        is_changed |= before != after;
                        cleaned.push(&after);
                    }
                }
            }
            if is_changed {
                edit.write_text(&column, &cleaned)?;
            }
        }
        Ok(())
    }

    /// One text, cleaned. Borrowed where nothing had to be done.
    fn cleaned<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let text = match self.case {
            Case::Keep => Cow::Borrowed(text),
            Case::Lower => Cow::Owned(text.to_lowercase()),
            Case::Upper => Cow::Owned(text.to_uppercase()),
        };
        let text = match self.unicode {
            Unicode::Nfc if !is_nfc(&text) => Cow::Owned(text.nfc().collect()),
            // A compatible form can be of another case than the letter it stands for.
            Unicode::Nfkc if !is_nfkc(&text) => match self.case {
                Case::Keep => Cow::Owned(text.nfkc().collect()),
                Case::Lower => Cow::Owned(text.nfkc().collect::<String>().to_lowercase().nfkc().collect()),
                Case::Upper => Cow::Owned(text.nfkc().collect::<String>().to_uppercase().nfkc().collect()),
            },
            _ => text,
        };
        match self.whitespace {
            Whitespace::Keep => text,
            Whitespace::Trim if text.trim().len() == text.len() => text,
            Whitespace::Trim => Cow::Owned(text.trim().to_owned()),
            Whitespace::Collapse => {
                let collapsed = collapsed(&text);
                if collapsed == text { text } else { Cow::Owned(collapsed) }
            }
        }
    }
}

/// Whether a text is surely composed. Letters before U+0300 are, and those of later ones begin with a byte from 0xCC on; looking for such
/// a byte is vectorised, looking letters up in tables is not.
fn is_nfc(text: &str) -> bool {
    largest_byte(text) < 0xCC || is_nfc_quick(text.chars()) == IsNormalized::Yes
}

/// Whether a text surely has nothing but letters that stand for themselves, composed.
fn is_nfkc(text: &str) -> bool {
    text.is_ascii() || is_nfkc_quick(text.chars()) == IsNormalized::Yes
}

fn largest_byte(text: &str) -> u8 {
    text.bytes().fold(0, u8::max)
}

/// The words of a text with one blank between them.
fn collapsed(text: &str) -> String {
    let mut collapsed = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !collapsed.is_empty() {
            collapsed.push(' ');
        }
        collapsed.push_str(word);
    }
    collapsed
}

#[cfg(test)]
mod tests;
