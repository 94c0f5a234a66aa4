//! Generated rows: day, wind, swell and whether the harbour was closed, which the first two tell but for some noise.

use std::fmt::Write as _;

/// The first line.
pub const HEADER: &str = "day,wind,swell,closed\n";

/// Which rows.
#[derive(Debug, Clone, Copy)]
pub struct Rows {
    /// The first day.
    pub first_day: u64,
    /// How many days.
    pub count: u64,
    /// The seed of the numbers.
    pub seed: u64,
    /// How much chance there is in the label; 0 is none, and far above 1 there is nothing else.
    pub noise: f64,
    /// Whether every label is the other one.
    pub flipped: bool,
}

impl Rows {
    /// The rows as lines, without a header.
    pub fn lines(&self) -> String {
        let mut chance = Chance(self.seed);
        let mut text = String::new();
        for day in self.first_day..self.first_day + self.count {
            let (wind, swell) = (chance.signed(), chance.signed());
            let closed = (wind + 0.5 * swell + self.noise * chance.signed() > 0.0) != self.flipped;
            writeln!(text, "{day},{wind:.4},{swell:.4},{}", u8::from(closed)).unwrap();
        }
        text
    }
}

/// Seeded numbers (splitmix64, Steele and others 2014), the same on every machine.
pub struct Chance(pub u64);

impl Chance {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// The next number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// The next number in −1 to 1.
    fn signed(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }
}
