//! One JSON object, read without copying what need not be.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::Wrong;

/// Keys and values of an object as they were written: in order, also those that are there twice.
pub struct Object<'a> {
    pub entries: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Object<'a> {
    /// Reads a text that holds one object and nothing else.
    pub fn read(text: &'a str) -> Result<Object<'a>, Wrong> {
        serde_json::from_str(text).map_err(|error| Wrong::Json(without_place(&error)))
    }
}

/// The text of a string.
pub fn text_of(value: &RawValue) -> Result<Cow<'_, str>, Wrong> {
    let text: Result<Text<'_>, _> = serde_json::from_str(value.get());
    text.map(|text| text.0).map_err(|error| Wrong::Json(without_place(&error)))
}

/// An error's words without its line, which is always the first here; the column stays.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let bare = text.split(" at line ").next().unwrap_or(&text);
    if error.column() > 0 { format!("{bare} at column {}", error.column()) } else { bare.to_owned() }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object<'de>, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Object<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut entries = Vec::new();
                while let Some((Text(key), value)) = map.next_entry()? {
                    entries.push((key, value));
                }
                Ok(Object { entries })
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

/// A string, borrowed where it holds no escape.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text<'de>, D::Error> {
        struct Whole;

        impl<'de> Visitor<'de> for Whole {
            type Value = Text<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(Whole)
    }
}
