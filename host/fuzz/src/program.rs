//! Bytes of a fuzzer as a program of host calls, and the guest that runs it.
//!
//! The program travels in the first feature of the batch: 11 integers an instruction, which is the number of a host function and
//! its arguments as they are. The guest reads the column and calls; pointers, handles and lengths are whatever the fuzzer made them.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray};
use tidegate_vocab::{Batch, Role};

use crate::guest::Guest;

/// Integers of one instruction: the function, then its arguments.
const WORDS: usize = 11;
/// Bytes of input that one instruction is made of: a byte for the function and two for each argument.
const BYTES: usize = 1 + 2 * (WORDS - 1);
/// Instructions of one program.
const INSTRUCTIONS_MAX: usize = 64;
/// Where results are put when the program leaves the place open.
const RESULT_AT: u32 = 32_768;

/// Name, parameters (`i` a 32-bit and `d` a 64-bit argument, `r` the place of the result) and whether it returns a value.
const FUNCTIONS: [(&str, &str, bool); 35] = [
    ("[method]batch.row-count", "i", true),
    ("[method]batch.columns", "ir", false),
    ("[method]batch.read-f64", "iiiir", false),
    ("[method]batch.read-i64", "iiiir", false),
    ("[method]batch.read-text", "iiiir", false),
    ("[method]batch.read-raw", "iiiir", false),
    ("[method]batch.read-valid", "iiiir", false),
    ("[method]editor.keep", "iiiiiir", false),
    ("[method]editor.keep-present", "iiiir", false),
    ("[method]editor.keep-between", "iiddiir", false),
    ("[method]editor.fill-missing", "iidr", false),
    ("[method]editor.clip", "iiddr", false),
    ("[method]editor.write-f64", "iiiiiiir", false),
    ("[method]editor.write-i64", "iiiiiiir", false),
    ("[method]editor.write-text", "iiiiiiiiir", false),
    ("[method]editor.write-raw", "iiiiiiir", false),
    ("[method]editor.add-column", "iiiiiiiir", false),
    ("[method]editor.drop-column", "iir", false),
    ("[constructor]builder", "ii", true),
    ("[method]builder.push-f64", "iiiiiir", false),
    ("[method]builder.push-i64", "iiiiiir", false),
    ("[method]builder.push-text", "iiiiiiiir", false),
    ("[method]builder.push-raw", "iiiiiir", false),
    ("[static]builder.finish", "ir", false),
    ("[resource-drop]builder", "i", false),
    ("[resource-drop]batch", "i", false),
    ("[resource-drop]editor", "i", false),
    ("poke", "id", false),
    ("get", "iir", false),
    ("set", "iiiir", false),
    ("remove", "iir", false),
    ("get-many", "iiiir", false),
    ("set-many", "iiiiiiiir", false),
    ("remove-many", "iiiir", false),
    ("add-many", "iiiir", false),
];

/// The interface of a function: those of `rows` are all methods.
fn interface_of(name: &str) -> &'static str {
    if name.starts_with('[') { "tidegate:plugin/rows@0.1.0" } else { "tidegate:plugin/state@0.1.0" }
}

/// Argument `index` of the instruction at `$at`, as a parameter of `kind`.
fn argument(kind: char, index: usize) -> String {
    let word = format!("(i64.load offset={} (local.get $at))", 8 * (index + 1));
    match kind {
        'i' => format!("(i32.wrap_i64 {word})"),
        'd' => format!("(f64.reinterpret_i64 {word})"),
        _ => format!("(i32.const {RESULT_AT})"),
    }
}

/// The guest.
pub fn interpreter() -> Guest {
    let (mut imports, mut calls) = (String::new(), String::new());
    for (number, (name, parameters, returns)) in FUNCTIONS.iter().enumerate() {
        let given: String = parameters.chars().enumerate().map(|(index, kind)| argument(kind, index)).collect();
        let function = match *name {
            "[resource-drop]batch" => "$drop-batch".to_owned(),
            "[resource-drop]editor" => "$drop-lent".to_owned(),
            "poke" => {
                let act = format!("(i64.store {} (i64.reinterpret_f64 {}))", argument('i', 0), argument('d', 1));
                let _ = write!(calls, "(if (i32.eq (local.get $op) (i32.const {number})) (then {act}))");
                continue;
            }
            _ => {
                let types: String = parameters.chars().map(|kind| if kind == 'd' { " f64" } else { " i32" }).collect();
                let result = if *returns { "(result i32)" } else { "" };
                let _ = write!(imports, r#"(import "{}" "{name}" (func $f{number} (param{types}) {result}))"#, interface_of(name));
                format!("$f{number}")
            }
        };
        let call = if *returns { format!("(drop (call {function} {given}))") } else { format!("(call {function} {given})") };
        let _ = write!(calls, "(if (i32.eq (local.get $op) (i32.const {number})) (then {call}))");
    }
    let mut guest = Guest::new(tidegate_sandbox::PluginKind::Cleaner);
    guest.manifest = guest.manifest.replace("reasons =", "state = 'keyed'\nreasons =");
    guest.imports = imports;
    // Words that a program can point at.
    guest.fields = format!(
        r#"(data (i32.const 128) "badf64i64utf8boolfeaturelabel")
        (func $step (param $at i32) (local $op i32) (local.set $op (i32.wrap_i64 (i64.load (local.get $at)))) {calls})"#
    );
    guest.main = format!(
        "(call $f3 (local.get 0) (i32.const 0) (i32.const 0) (call $f0 (local.get 0)) (i32.const {RESULT_AT}))
         (local.set $i (i32.load offset=4 (i32.const {RESULT_AT})))
         (global.set $end (i32.add (local.get $i) (i32.mul (i32.const 8) (i32.load offset=8 (i32.const {RESULT_AT})))))
         (block $done (loop $next
           (br_if $done (i32.ge_u (local.get $i) (global.get $end)))
           (call $step (local.get $i))
           (local.set $i (i32.add (local.get $i) (i32.const {})))
           (br $next)))
         (i32.const 1024)",
        8 * WORDS
    );
    guest.fields.insert_str(0, "(global $end (mut i32) (i32.const 0)) ");
    guest
}

/// A batch that carries the program, and has a column of every type for it to work on.
pub fn batch(data: &[u8]) -> Batch {
    let (instructions, _) = data.as_chunks::<BYTES>();
    let words: Vec<i64> = instructions.iter().take(INSTRUCTIONS_MAX).flat_map(instruction).collect();
    let rows = words.len();
    let column = |name: &str, role, array: ArrayRef| (name.to_owned(), role, array);
    let text: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(|row| format!("é{row}"))));
    let columns = vec![
        column("program", Role::Feature, Arc::new(Int64Array::from(words))),
        column("label", Role::Label, Arc::clone(&text)),
        column("x", Role::Feature, Arc::new((0..rows).map(|row| (row % 3 > 0).then_some(row as f64)).collect::<Float64Array>())),
        column("text", Role::Feature, text),
        column("flag", Role::Feature, Arc::new((0..rows).map(|row| Some(row % 2 > 0)).collect::<BooleanArray>())),
    ];
    Batch::new(columns).unwrap_or_else(|error| panic!("the columns have one length: {error}"))
}

/// The function, then arguments: small numbers of either sign as they are; the ends of their range stand for the ends of all numbers.
fn instruction(bytes: &[u8; BYTES]) -> [i64; WORDS] {
    let function = usize::from(bytes[0]) % FUNCTIONS.len();
    let parameters = FUNCTIONS[function].1.as_bytes();
    std::array::from_fn(|word| {
        if word == 0 {
            return function as i64;
        }
        let value = i16::from_be_bytes([bytes[2 * word - 1], bytes[2 * word]]);
        let is_float = parameters.get(word - 1) == Some(&b'd') && FUNCTIONS[function].0 != "poke";
        match value {
            i16::MAX if is_float => f64::NAN.to_bits() as i64,
            i16::MIN if is_float => f64::NEG_INFINITY.to_bits() as i64,
            _ if is_float => f64::from(value).to_bits() as i64,
            i16::MAX => i64::from(i32::MAX),
            i16::MIN => i64::from(i32::MIN),
            _ => i64::from(value),
        }
    })
}
