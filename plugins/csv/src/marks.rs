//! Where the bytes that matter are: delimiters, line ends and quotes, found 64 bytes at a time.

/// Appends to `marks` the positions from `from` on at which `bytes` holds one of `needles`, in order.
pub fn find(bytes: &[u8], from: usize, needles: [u8; 3], marks: &mut Vec<u32>) {
    let tail = &bytes[from..];
    let (blocks, rest) = tail.as_chunks::<64>();
    // Cells of eight bytes are typical; growing inside the loop would cost more than the search.
    marks.reserve(tail.len() / 6);
    let mut at = from as u32;
    for block in blocks {
        let mut found = matches_of(block, needles);
        while found != 0 {
            marks.push(at + found.trailing_zeros());
            found &= found - 1;
        }
        at += 64;
    }
    marks.extend((at..).zip(rest).filter(|(_, byte)| needles.contains(byte)).map(|(at, _)| at));
}

/// One bit a byte of the block, the lowest for the first.
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
fn matches_of(block: &[u8; 64], needles: [u8; 3]) -> u64 {
    use std::arch::wasm32::{u8x16_bitmask, u8x16_eq, u8x16_splat, u64x2, v128_or};

    let [first, second, third] = needles.map(|needle| u8x16_splat(needle));
    let (words, _) = block.as_chunks::<8>();
    let (pairs, _) = words.as_chunks::<2>();
    let mut found = 0;
    for (index, [low, high]) in pairs.iter().enumerate() {
        let lane = u64x2(u64::from_le_bytes(*low), u64::from_le_bytes(*high));
        let equal = v128_or(v128_or(u8x16_eq(lane, first), u8x16_eq(lane, second)), u8x16_eq(lane, third));
        found |= u64::from(u8x16_bitmask(equal)) << (16 * index);
    }
    found
}

/// One bit a byte of the block, the lowest for the first.
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
fn matches_of(block: &[u8; 64], needles: [u8; 3]) -> u64 {
    let bits = block.iter().enumerate().map(|(index, byte)| u64::from(needles.contains(byte)) << index);
    bits.fold(0, |found, bit| found | bit)
}

#[cfg(test)]
mod tests {
    use super::find;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_what_a_plain_search_finds(bytes in proptest::collection::vec(prop_oneof![Just(b','), Just(b'\n'), Just(b'"'), any::<u8>()], 0..300), from in 0usize..300) {
            let from = from.min(bytes.len());
            let mut found = Vec::new();
            find(&bytes, from, [b',', b'\n', b'"'], &mut found);
            let plain: Vec<u32> = (from..bytes.len()).filter(|at| b",\n\"".contains(&bytes[*at])).map(|at| at as u32).collect();
            prop_assert_eq!(found, plain);
        }
    }
}
