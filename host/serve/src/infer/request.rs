//! The body of an inference request, as it was written: no meaning yet, and texts borrowed from the body where they can be.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, SeqAccess, Visitor};

use crate::refusal::Refusal;

/// Tensors of one request: far more than any contract has columns.
const TENSORS_MAX: usize = 4_096;
/// Bytes of a request's `id`, which comes back in the reply.
const ID_BYTES_MAX: usize = 1_024;

/// A request of the Open Inference Protocol.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct InferRequest<'a> {
    /// Comes back in the reply.
    #[serde(borrow, default)]
    pub id: Option<Text<'a>>,
    /// The columns.
    #[serde(borrow)]
    pub inputs: Vec<Tensor<'a>>,
    /// What to answer; everything when absent or empty.
    #[serde(borrow, default)]
    pub outputs: Vec<Wanted<'a>>,
    #[serde(default, rename = "parameters")]
    _parameters: Option<IgnoredAny>,
}

/// One column.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tensor<'a> {
    /// Which.
    #[serde(borrow)]
    pub name: Text<'a>,
    /// Its extents.
    pub shape: Shape,
    /// Its type.
    #[serde(borrow)]
    pub datatype: Text<'a>,
    /// Its values, flat or nested.
    #[serde(borrow)]
    pub data: Cells<'a>,
    #[serde(default, rename = "parameters")]
    _parameters: Option<IgnoredAny>,
}

/// One output that is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted<'a> {
    /// Which.
    #[serde(borrow)]
    pub name: Text<'a>,
    #[serde(default, rename = "parameters")]
    _parameters: Option<IgnoredAny>,
}

/// Reads a request.
pub(crate) fn parse(body: &[u8]) -> Result<InferRequest<'_>, Refusal> {
    // Checked once here, or the parser checks every text of it on its own.
    let text = std::str::from_utf8(body).map_err(|error| Refusal::bad(format!("the body is not JSON: {error}; expected UTF-8")))?;
    let request: InferRequest<'_> = serde_json::from_str(text).map_err(|error| {
        let what = if error.is_data() { "is not an inference request" } else { "is not JSON" };
        Refusal::bad(format!("the body {what}: {error}; expected {{\"inputs\": [{{\"name\", \"shape\", \"datatype\", \"data\"}}, …]}}"))
    })?;
    if request.inputs.len() > TENSORS_MAX {
        return Err(Refusal::bad(format!("there are {} tensors; expected at most {TENSORS_MAX}", request.inputs.len())));
    }
    if let Some(id) = request.id.as_ref().filter(|id| id.0.len() > ID_BYTES_MAX) {
        return Err(Refusal::bad(format!("`id` has {} bytes; expected at most {ID_BYTES_MAX}", id.0.len())));
    }
    Ok(request)
}

/// A text, borrowed from the body unless it has escapes.
#[derive(Debug)]
pub(crate) struct Text<'a>(pub Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text<'a>, D::Error> {
        struct OfText;
        impl<'de> Visitor<'de> for OfText {
            type Value = Cow<'de, str>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Cow<'de, str>, E> {
                Ok(Cow::Borrowed(text))
            }

            fn visit_str<E>(self, text: &str) -> Result<Cow<'de, str>, E> {
                Ok(Cow::Owned(text.to_owned()))
            }
        }
        deserializer.deserialize_str(OfText).map(Text)
    }
}

/// The extents of a tensor. More than two are refused, so only as many are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    /// The first two; 0 where there are fewer.
    pub first: [u64; 2],
    /// How many there are.
    pub count: usize,
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Shape, D::Error> {
        struct Extents;
        impl<'de> Visitor<'de> for Extents {
            type Value = Shape;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of extents")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Shape, A::Error> {
                let mut shape = Shape::default();
                while let Some(extent) = list.next_element()? {
                    if let Some(place) = shape.first.get_mut(shape.count) {
                        *place = extent;
                    }
                    shape.count += 1;
                }
                Ok(shape)
            }
        }
        deserializer.deserialize_seq(Extents)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.count, self.first) {
            (0, _) => f.write_str("[]"),
            (1, [extent, _]) => write!(f, "[{extent}]"),
            (2, [extent, second]) => write!(f, "[{extent}, {second}]"),
            (_, [extent, second]) => write!(f, "[{extent}, {second}, …]"),
        }
    }
}

/// One value of a tensor.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell<'a> {
    /// No value.
    Null,
    /// A truth value.
    Bool(bool),
    /// A number written as an integer.
    Integer(i64),
    /// Any other number; always finite.
    Number(f64),
    /// A text.
    Text(Cow<'a, str>),
}

/// The values of a tensor in row-major order, read from nested lists of any depth.
#[derive(Debug, Default)]
pub(crate) struct Cells<'a>(pub Vec<Cell<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Cells<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Cells<'a>, D::Error> {
        let mut cells = Vec::new();
        deserializer.deserialize_seq(List(&mut cells))?;
        Ok(Cells(cells))
    }
}

/// Reads a list into cells.
struct List<'c, 'a>(&'c mut Vec<Cell<'a>>);

impl<'de: 'a, 'a> Visitor<'de> for List<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of values")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Element(self.0))?.is_some() {}
        Ok(())
    }
}

/// Reads one value, or the values of a nested list.
struct Element<'c, 'a>(&'c mut Vec<Cell<'a>>);

impl<'de: 'a, 'a> DeserializeSeed<'de> for Element<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de: 'a, 'a> Visitor<'de> for Element<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, a text, true, false or null")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.0.push(Cell::Null);
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.0.push(Cell::Bool(value));
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.0.push(Cell::Integer(value));
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.0.push(i64::try_from(value).map_or(Cell::Number(value as f64), Cell::Integer));
        Ok(())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        self.0.push(Cell::Number(value));
        Ok(())
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<(), E> {
        self.0.push(Cell::Text(Cow::Borrowed(text)));
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.0.push(Cell::Text(Cow::Owned(text.to_owned())));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<(), A::Error> {
        List(self.0).visit_seq(list)
    }
}
