//! Short decimal numbers, all their characters at once.
//!
//! Invariant: what is read here is what a correctly rounding parser reads, bit for bit: the digits are a small integer and the power of
//! ten is exact, so that the one division rounds once. Everything else is declined.

/// Characters that are looked at together: as many as fit a register. Twice as many take longer than a general parser.
const WIDTH: usize = 8;
/// Powers of ten that a number of so many characters is divided by; all are exact.
const POWERS: [f64; WIDTH] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7];

/// The number `bytes[start..end]`: digits, with a `-` before and a point among them if need be. `None` where it is anything else,
/// has more than eight characters behind its sign, or stands too near the end of `bytes` to be read in one piece.
///
/// Nothing branches on a cell's length or sign, so that neighbouring cells are read at the same time.
#[inline]
pub fn decimal_within(bytes: &[u8], start: usize, end: usize) -> Option<f64> {
    let is_negative = bytes.get(start) == Some(&b'-');
    let start = start + usize::from(is_negative);
    let length = end.checked_sub(start).filter(|length| (1..=WIDTH).contains(length))?;
    // The last character comes to the highest byte: what follows the cell is shifted out, and zeros come in before it.
    let cell = u64::from_le_bytes(*bytes.get(start..)?.first_chunk()?) << (8 * (WIDTH - length));
    let (digits, count, fraction) = match first_byte(cell, b'.') {
        // What stands before the point moves up into its place.
        Some(point) => {
            let before = (1_u64 << (8 * point)) - 1;
            (((cell & before) << 8) | (cell & !((before << 8) | 0xff)), length - 1, WIDTH - 1 - point)
        }
        None => (cell, length, 0),
    };
    let digits = digits | every_byte(b'0').checked_shr(8 * count as u32).unwrap_or(0);
    if count == 0 || !are_digits(digits) {
        return None;
    }
    let value = eight_digits(digits) as f64 / POWERS[fraction];
    Some(f64::from_bits(value.to_bits() | (u64::from(is_negative) << 63)))
}

const fn every_byte(byte: u8) -> u64 {
    u64::from_le_bytes([byte; WIDTH])
}

/// The number of the lowest byte that is `byte`.
#[inline]
fn first_byte(text: u64, byte: u8) -> Option<usize> {
    let zero_there = text ^ every_byte(byte);
    // The lowest high bit that this leaves is that of the lowest zero byte.
    let found = zero_there.wrapping_sub(every_byte(1)) & !zero_there & every_byte(0x80);
    (found != 0).then(|| found.trailing_zeros() as usize / 8)
}

#[inline]
fn are_digits(text: u64) -> bool {
    let high = every_byte(0xf0);
    // Adding six carries a byte above `9` out of the block of `0`; a byte that carried into its neighbour fails by itself.
    (text & high) | ((text.wrapping_add(every_byte(6)) & high) >> 4) == every_byte(0x33)
}

/// The number that eight digits write, the first in the lowest byte: pairs, then fours, then all eight.
#[inline]
fn eight_digits(text: u64) -> u64 {
    const EVERY_OTHER_PAIR: u64 = 0x0000_00ff_0000_00ff;
    let digits = text & 0x0f0f_0f0f_0f0f_0f0f;
    let pairs = digits * 10 + (digits >> 8);
    let first = (pairs & EVERY_OTHER_PAIR).wrapping_mul(100 + (1_000_000 << 32));
    let second = ((pairs >> 16) & EVERY_OTHER_PAIR).wrapping_mul(1 + (10_000 << 32));
    first.wrapping_add(second) >> 32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::decimal_within;

    /// Reads `cell` with text before and behind it, and holds it against a general parser; says whether it was read.
    fn check(cell: &str) -> bool {
        let text = format!("7,{cell},12345.-0123456");
        let read = decimal_within(text.as_bytes(), 2, 2 + cell.len());
        if let Some(read) = read {
            let expected: f64 = cell.parse().unwrap_or_else(|_| panic!("`{cell}` is no number and was read as {read}"));
            assert_eq!(read.to_bits(), expected.to_bits(), "`{cell}`: {read}, expected {expected}");
        }
        read.is_some()
    }

    #[test]
    fn plain_numbers_are_read() {
        for cell in ["0", "-0", "7", "12", "-1.5", ".5", "5.", "-8.200000", "0.000001", "12345678", "-1234567.", "1013.25"] {
            assert!(check(cell), "`{cell}` was not read");
        }
    }

    #[test]
    fn everything_else_is_left_to_others() {
        let others = ["", "-", ".", "-.", "+1", "--1", "1e5", "1.2.3", "1,5", " 1", "1 ", "nan", "inf", "0x10", "1:2", "1/2", "\u{ff11}"];
        for cell in others.into_iter().chain(["123456789", "-1234.56789"]) {
            assert!(!check(cell), "`{cell}` was read");
        }
        assert_eq!(decimal_within(b"1.5,2.5", 0, 3), None, "too little follows it");
        assert_eq!(decimal_within(b"1234567890123456", 3, 2), None, "it ends before it starts");
    }

    proptest! {
        #[test]
        fn as_the_general_parser(cell in "-?[0-9]{0,5}\\.?[0-9]{0,4}", other in "[-+.0-9e:/ ]{0,9}", value in -1e4..1e4, places in 0usize..9) {
            check(&cell);
            check(&other);
            check(&format!("{value}"));
            check(&format!("{:.places$}", value));
        }
    }
}
