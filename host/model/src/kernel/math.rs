//! Elementary functions that have the same bits on every machine: only additions, multiplications and divisions.

/// The high and the low part of ln 2: their sum carries more digits than one number can.
const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;

/// e to the power of `x`, within 2 units in the last place; 0 below -708 and infinite above 709.
pub(crate) fn exp(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    if x < -708.0 {
        return 0.0;
    }
    if x > 709.0 {
        return f64::INFINITY;
    }
    // x = power × ln 2 + rest, |rest| ≤ ln 2 / 2, so that 13 terms of the series are enough.
    let power = (x * std::f64::consts::LOG2_E).round();
    let rest = (x - power * LN2_HIGH) - power * LN2_LOW;
    let mut sum = 1.0;
    for term in (1..=13).rev() {
        sum = 1.0 + sum * rest / f64::from(term);
    }
    sum * f64::from_bits(((power as i64 + 1023) as u64) << 52)
}

/// The natural logarithm of `x`, within 2 units in the last place; minus infinity for 0, NaN below.
pub(crate) fn ln(x: f64) -> f64 {
    if x.is_nan() || x < 0.0 {
        return f64::NAN;
    }
    if x == 0.0 || x == f64::INFINITY {
        return if x == 0.0 { f64::NEG_INFINITY } else { x };
    }
    // Subnormal numbers are scaled into the normal range first.
    let (x, offset) = if x < f64::MIN_POSITIVE { (x * (1u64 << 54) as f64, -54.0) } else { (x, 0.0) };
    let bits = x.to_bits();
    let mut power = ((bits >> 52) as i64 - 1023) as f64 + offset;
    let mut mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa /= 2.0;
        power += 1.0;
    }
    // ln m = 2 artanh((m - 1) / (m + 1)), where the argument is at most 0.172.
    let ratio = (mantissa - 1.0) / (mantissa + 1.0);
    let square = ratio * ratio;
    let mut sum = 0.0;
    for term in (0..=11).rev() {
        sum = sum * square + 1.0 / f64::from(2 * term + 1);
    }
    power * LN2_HIGH + (2.0 * ratio * sum + power * LN2_LOW)
}

/// The cosine of `x` half turns, for `x` from 0 to 1, within 1e-14.
pub(crate) fn cos_pi(x: f64) -> f64 {
    // Around a quarter turn the cosine is minus a sine, whose series converges fast for arguments up to a quarter turn.
    let angle = (x - 0.5) * std::f64::consts::PI;
    let square = angle * angle;
    let mut sum = 1.0;
    for term in (1..=10).rev() {
        sum = 1.0 - sum * square / f64::from((2 * term) * (2 * term + 1));
    }
    -angle * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_agree_with_the_library() {
        for index in -7_000..7_000 {
            let x = f64::from(index) / 10.0 + 0.037;
            assert!((exp(x) / x.exp() - 1.0).abs() < 1e-15, "exp {x}: {} {}", exp(x), x.exp());
            let positive = exp(x);
            assert!((ln(positive) - positive.ln()).abs() <= 4e-16 * positive.ln().abs().max(1.0), "ln {positive}");
        }
        for index in 0..=1_000 {
            let x = f64::from(index) / 1_000.0;
            assert!((cos_pi(x) - (x * std::f64::consts::PI).cos()).abs() < 1e-14, "cos {x}");
        }
        assert_eq!((exp(-1e9), exp(1e9), exp(0.0)), (0.0, f64::INFINITY, 1.0));
        assert_eq!((ln(1.0), ln(0.0), ln(f64::INFINITY)), (0.0, f64::NEG_INFINITY, f64::INFINITY));
        assert!(exp(f64::NAN).is_nan() && ln(f64::NAN).is_nan() && ln(-1.0).is_nan());
        assert!((ln(5e-324) - 5e-324f64.ln()).abs() < 1e-12);
    }
}
