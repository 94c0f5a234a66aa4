//! The reply to an inference request, written straight into its bytes.

use std::io::Write as _;

use serde::Serialize;
use tidegate_model::Predictions;

use super::plan::{PROBABILITY, ROW_ID, shortened};
use super::request::{InferRequest, Wanted};
use crate::refusal::Refusal;

/// Which outputs a reply has, in the order in which they were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// The most probable class.
    Class,
    /// The probability of each class.
    Probability,
    /// The rows' ids.
    RowId,
}

/// What a reply is made of.
pub(crate) struct Reply<'a> {
    /// The model's name.
    pub model: &'a str,
    /// The version's name.
    pub version: &'a str,
    /// The request's id.
    pub id: Option<&'a str>,
    /// The label column.
    pub label: &'a str,
    /// What to write.
    pub outputs: &'a [Output],
    /// What the model said.
    pub predictions: &'a Predictions,
    /// The rows' ids.
    pub row_ids: &'a [String],
}

/// The outputs that a request asks for: all when it names none.
pub(crate) fn wanted(request: &InferRequest<'_>, label: &str) -> Result<Vec<Output>, Refusal> {
    if request.outputs.is_empty() {
        return Ok(vec![Output::Class, Output::Probability, Output::RowId]);
    }
    let output = |wanted: &Wanted<'_>| match wanted.name.0.as_ref() {
        name if name == label => Ok(Output::Class),
        PROBABILITY => Ok(Output::Probability),
        ROW_ID => Ok(Output::RowId),
        other => {
            let found = shortened(other);
            Err(Refusal::bad(format!("there is no output `{found}`; expected `{label}`, `{PROBABILITY}` or `{ROW_ID}`")))
        }
    };
    let outputs: Vec<Output> = request.outputs.iter().map(output).collect::<Result<_, _>>()?;
    match outputs.iter().enumerate().find(|(index, output)| outputs[..*index].contains(output)) {
        Some((index, _)) => Err(Refusal::bad(format!("output `{}` is asked for twice", request.outputs[index].name.0))),
        None => Ok(outputs),
    }
}

impl Reply<'_> {
    /// The reply as JSON.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let rows = self.row_ids.len();
        let classes = self.predictions.classes.len();
        let mut out = Vec::with_capacity(256 + rows * (64 + 22 * classes));
        out.extend_from_slice(b"{\"model_name\":");
        text(&mut out, self.model);
        out.extend_from_slice(b",\"model_version\":");
        text(&mut out, self.version);
        if let Some(id) = self.id {
            out.extend_from_slice(b",\"id\":");
            text(&mut out, id);
        }
        out.extend_from_slice(b",\"outputs\":[");
        for (index, output) in self.outputs.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            match output {
                Output::Class => {
                    head(&mut out, self.label, "BYTES", rows, None);
                    let of_row = |class: &u32| self.predictions.classes[*class as usize].as_str();
                    list(&mut out, self.predictions.predicted.iter().map(of_row));
                }
                Output::Probability => {
                    head(&mut out, PROBABILITY, "FP64", rows, Some(classes));
                    list(&mut out, self.predictions.probabilities.iter());
                }
                Output::RowId => {
                    head(&mut out, ROW_ID, "BYTES", rows, None);
                    list(&mut out, self.row_ids.iter());
                }
            }
            out.push(b'}');
        }
        out.extend_from_slice(b"]}");
        out
    }
}

fn head(out: &mut Vec<u8>, name: &str, datatype: &str, rows: usize, columns: Option<usize>) {
    out.extend_from_slice(b"{\"name\":");
    text(out, name);
    let columns = columns.map_or_else(String::new, |columns| format!(",{columns}"));
    write!(out, ",\"datatype\":\"{datatype}\",\"shape\":[{rows}{columns}],\"data\":").expect("a vector takes every byte");
}

fn list<T: Serialize>(out: &mut Vec<u8>, values: impl Iterator<Item = T>) {
    out.push(b'[');
    for (index, value) in values.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        serde_json::to_writer(&mut *out, &value).expect("texts and numbers are JSON, and a vector takes every byte");
    }
    out.push(b']');
}

fn text(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a text is JSON, and a vector takes every byte");
}
