//! A cleaner that does the one thing that its configuration names, so that the bench of the sandbox can time it.

// Written with the instructions of WebAssembly: elsewhere there is nothing to build.
#![cfg(target_arch = "wasm32")]

use std::arch::wasm32::{
    f64x2, f64x2_div, f64x2_extract_lane, f64x2_pmax, f64x2_pmin, f64x2_splat, f64x2_sub, u8x16_bitmask, u8x16_eq, u8x16_lt, u8x16_ne,
    u8x16_splat, u8x16_sub, u64x2, v128, v128_and, v128_or,
};
use std::cell::Cell;
use std::hint::black_box;

use exports::tidegate::plugin::{cleaner, lifecycle};
use tidegate::plugin::failures::Failure;
use tidegate::plugin::rows::{Batch, DataError, Editor, TextValues};

wit_bindgen::generate!({ path: "../../../wit", world: "cleaner-plugin", generate_all });

// The host reads the manifest from this section without running anything.
#[used]
#[unsafe(link_section = "tidegate:manifest")]
static MANIFEST: [u8; include_bytes!("../plugin.toml").len()] = *include_bytes!("../plugin.toml");

const MODES: [&str; 12] = [
    "nothing",
    "read-f64",
    "read-text",
    "read-raw",
    "write-f64",
    "write-text",
    "write-raw",
    "clip-host",
    "clip-guest",
    "z-score",
    "nan-mask",
    "text-clean",
];
const LOW: f64 = -1.0;
const HIGH: f64 = 1.0;

thread_local! {
    static MODE: Cell<&'static str> = const { Cell::new("nothing") };
    static WINDOW: Cell<u32> = const { Cell::new(u32::MAX) };
}

struct Bench;

impl lifecycle::Guest for Bench {
    fn configure(config: String) -> Result<(), Vec<lifecycle::Issue>> {
        let Some(mode) = MODES.into_iter().find(|mode| config.contains(&format!("\"{mode}\""))) else {
            return Err(vec![lifecycle::Issue { pointer: "/mode".into(), message: "no such mode".into() }]);
        };
        MODE.set(mode);
        if let Some((_, rest)) = config.split_once("\"window\":") {
            let digits: String = rest.chars().skip_while(|c| *c == ' ').take_while(char::is_ascii_digit).collect();
            WINDOW.set(digits.parse().unwrap_or(u32::MAX));
        }
        Ok(())
    }

    fn probe() -> Result<(), Failure> {
        Ok(())
    }
}

impl cleaner::Guest for Bench {
    fn clean(rows: &Batch, edit: &Editor) -> Result<(), Failure> {
        let mode = MODE.get();
        if mode == "nothing" {
            return Ok(());
        }
        run(mode, rows, edit).map_err(|error| Failure { code: error.code, message: error.message, retryable: false, retry_after_ms: None })
    }
}

/// The windows that cover the rows.
fn windows(rows: u32) -> impl Iterator<Item = (u32, u32)> {
    let window = WINDOW.get().min(rows.max(1));
    (0..rows.div_ceil(window)).map(move |index| (index * window, window.min(rows - index * window)))
}

fn run(mode: &str, batch: &Batch, edit: &Editor) -> Result<(), DataError> {
    let (rows, columns) = (batch.row_count(), batch.columns().len() as u32);
    match mode {
        "nan-mask" => return nan_mask(batch, edit, rows, columns),
        "z-score" => return (0..columns).try_for_each(|column| z_score(batch, edit, rows, column)),
        _ => {}
    }
    for column in 0..columns {
        if mode == "clip-host" {
            edit.clip(column, LOW, HIGH)?;
            continue;
        }
        for (start, count) in windows(rows) {
            match mode {
                "read-f64" => drop(black_box(batch.read_f64(column, start, count)?)),
                "read-text" => drop(black_box(batch.read_text(column, start, count)?)),
                "read-raw" => drop(black_box(batch.read_raw(column, start, count)?)),
                "write-f64" => edit.write_f64(column, start, &batch.read_f64(column, start, count)?, &[])?,
                "write-raw" => edit.write_raw(column, start, &batch.read_raw(column, start, count)?, &[])?,
                "write-text" => edit.write_text(column, start, &batch.read_text(column, start, count)?, &[])?,
                "clip-guest" => {
                    let mut values = batch.read_f64(column, start, count)?;
                    in_blocks(&mut values, clip);
                    edit.write_f64(column, start, &values, &[])?;
                }
                "text-clean" => text_clean(batch, edit, column, start, count)?,
                _ => unreachable!("configure has checked the mode"),
            }
        }
    }
    Ok(())
}

/// Rows with a NaN in any column go.
fn nan_mask(batch: &Batch, edit: &Editor, rows: u32, columns: u32) -> Result<(), DataError> {
    for (start, count) in windows(rows) {
        let mut mask = vec![1_u8; count as usize];
        for column in 0..columns {
            let values = batch.read_f64(column, start, count)?;
            let ((masks, mask_rest), (blocks, rest)) = (mask.as_chunks_mut::<BLOCK>(), values.as_chunks::<BLOCK>());
            for (keep, block) in masks.iter_mut().zip(blocks) {
                for (keep, value) in keep.iter_mut().zip(block) {
                    *keep &= u8::from(!value.is_nan());
                }
            }
            for (keep, value) in mask_rest.iter_mut().zip(rest) {
                *keep &= u8::from(!value.is_nan());
            }
        }
        edit.keep(start, &mask, "nan")?;
    }
    Ok(())
}

/// Applies `map` to every value, two at a time in blocks of sixteen: the host's check for a deadline is paid once a block.
fn in_blocks(values: &mut [f64], map: impl Fn(v128) -> v128) {
    let (blocks, rest) = values.as_chunks_mut::<16>();
    for block in blocks {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *block;
        let pairs = [f64x2(a, b), f64x2(c, d), f64x2(e, f), f64x2(g, h), f64x2(i, j), f64x2(k, l), f64x2(m, n), f64x2(o, p)];
        let [a, b, c, d, e, f, g, h] = pairs.map(&map);
        let (low, high) = (f64x2_extract_lane::<0>, f64x2_extract_lane::<1>);
        *block = [
            low(a),
            high(a),
            low(b),
            high(b),
            low(c),
            high(c),
            low(d),
            high(d),
            low(e),
            high(e),
            low(f),
            high(f),
            low(g),
            high(g),
            low(h),
            high(h),
        ];
    }
    rest.iter_mut().for_each(|value| *value = f64x2_extract_lane::<0>(map(f64x2_splat(*value))));
}

fn clip(values: v128) -> v128 {
    f64x2_pmin(f64x2_pmax(values, f64x2_splat(LOW)), f64x2_splat(HIGH))
}

/// Values of a block.
const BLOCK: usize = 8;
/// Lanes that sums are taken in, so that they do not wait for each other.
const LANES: usize = 16;

fn sums(values: &[f64], of: impl Fn(f64) -> f64) -> f64 {
    let mut lanes = [0.0; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    let rest: f64 = rest.iter().map(|value| of(*value)).sum();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += of(*value);
        }
    }
    lanes.iter().sum::<f64>() + rest
}

fn z_score(batch: &Batch, edit: &Editor, rows: u32, column: u32) -> Result<(), DataError> {
    let mut values = batch.read_f64(column, 0, rows)?;
    let mean = sums(&values, |value| value) / f64::from(rows);
    let deviation = (sums(&values, |value| (value - mean) * (value - mean)) / f64::from(rows)).sqrt();
    in_blocks(&mut values, |values| f64x2_div(f64x2_sub(values, f64x2_splat(mean)), f64x2_splat(deviation)));
    edit.write_f64(column, 0, &values, &[])
}

/// Bytes that most cells do not exceed.
const CELL_BYTES: usize = 32;

/// The range without the white space at its ends; that of a short cell is found for all its bytes at once, because a loop over a few
/// bytes would be checked for a deadline at every turn.
fn trimmed(bytes: &[u8], mut from: usize, mut to: usize) -> std::ops::Range<usize> {
    let length = to - from;
    if let Some(block) = bytes.get(from..).and_then(|rest| rest.first_chunk::<CELL_BYTES>())
        && length < CELL_BYTES
    {
        let text = !white_space(block) & ((1 << length) - 1);
        if text == 0 {
            return from..from;
        }
        return from + text.trailing_zeros() as usize..from + CELL_BYTES - text.leading_zeros() as usize;
    }
    while from < to && bytes[from].is_ascii_whitespace() {
        from += 1;
    }
    while from < to && bytes[to - 1].is_ascii_whitespace() {
        to -= 1;
    }
    from..to
}

/// One bit a byte, the lowest for the first: whether it is a space, a tab, a line feed, a form feed or a carriage return.
fn white_space(block: &[u8; CELL_BYTES]) -> u32 {
    let (halves, _) = block.as_chunks::<16>();
    let mut found = 0;
    for (index, half) in halves.iter().enumerate() {
        let (words, _) = half.as_chunks::<8>();
        let half = u64x2(u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1]));
        // 9 to 13 are control characters that move, 11 alone is no white space.
        let moves = v128_and(u8x16_lt(u8x16_sub(half, u8x16_splat(9)), u8x16_splat(5)), u8x16_ne(half, u8x16_splat(11)));
        found |= u32::from(u8x16_bitmask(v128_or(moves, u8x16_eq(half, u8x16_splat(b' '))))) << (16 * index);
    }
    found
}

/// Appends a cell; a short one as a whole block, because a copy of a length that is not known is a call out of the guest.
fn push_cell(to: &mut Vec<u8>, all: &[u8], cell: std::ops::Range<usize>) {
    match all.get(cell.start..).and_then(|rest| rest.first_chunk::<CELL_BYTES>()) {
        Some(block) if cell.len() <= CELL_BYTES => {
            let end = to.len() + cell.len();
            to.extend_from_slice(block);
            to.truncate(end);
        }
        _ => to.extend_from_slice(&all[cell]),
    }
}

/// Trims each text and makes its ASCII letters small.
fn text_clean(batch: &Batch, edit: &Editor, column: u32, start: u32, count: u32) -> Result<(), DataError> {
    let mut text = batch.read_text(column, start, count)?;
    // All at once: a loop over many short cells would be checked for a deadline at every turn.
    text.bytes.make_ascii_lowercase();
    let mut bytes = Vec::with_capacity(text.bytes.len() + CELL_BYTES);
    let mut offsets = Vec::with_capacity(text.offsets.len());
    offsets.push(0);
    for ends in text.offsets.windows(2) {
        push_cell(&mut bytes, &text.bytes, trimmed(&text.bytes, ends[0] as usize, ends[1] as usize));
        offsets.push(bytes.len() as u32);
    }
    edit.write_text(column, start, &TextValues { offsets, bytes }, &[])
}

export!(Bench);
