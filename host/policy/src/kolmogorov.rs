//! Laws of the Kolmogorov-Smirnov statistics, for two samples exactly and for one sample of any size.

use std::f64::consts::PI;

/// The chance of a distance of `steps / lcm(n, m)` or more between the empirical distributions of samples of `n` and `m` values
/// from one continuous law: lattice paths that leave the band between two diagonals (Hodges 1958).
pub(crate) fn two_sample_exact(n: usize, m: usize, steps: u64) -> f64 {
    match steps {
        0 => 1.0,
        _ if n == m => equal_sizes(n, steps),
        _ => unequal_sizes(n.max(m), n.min(m), steps),
    }
}

/// The reflection principle in closed form, as `2·A0·(1 - A1·(1 - A2·…))` so that nothing cancels.
fn equal_sizes(n: usize, steps: u64) -> f64 {
    let (n, steps) = (n as f64, steps as f64);
    let mut p = 0.0;
    let mut reflections = (n / steps).floor();
    while reflections >= 0.0 {
        let mut factor = 1.0;
        let mut j = 0.0;
        while j < steps {
            factor *= (n - reflections * steps - j) / (n + reflections * steps + j + 1.0);
            j += 1.0;
        }
        p = factor * (1.0 - p);
        reflections -= 1.0;
    }
    (2.0 * p).clamp(0.0, 1.0)
}

/// The share of paths to each point of a column that have left the band, column by column; outside it the share is 1.
fn unequal_sizes(long: usize, short: usize, steps: u64) -> f64 {
    let divisor = gcd(long, short);
    let (long_unit, short_unit) = ((long / divisor) as i128, (short / divisor) as i128);
    let steps = i128::from(steps);
    // Rows strictly inside the band of column `i`: |short_unit·i - long_unit·j| < steps.
    let inside = |i: usize| {
        let middle = short_unit * i as i128;
        let low = (middle - steps).div_euclid(long_unit) + 1;
        let high = (middle + steps - 1).div_euclid(long_unit);
        (low.max(0) as usize, high.min(short as i128) as usize)
    };
    let mut left = vec![1.0; short + 1];
    let (low, high) = inside(0);
    left[low..=high].fill(0.0);
    for i in 1..=long {
        let (low, high) = inside(i);
        if low > high {
            return 1.0;
        }
        // What the band has moved past is outside.
        left[..low].fill(1.0);
        for j in low..=high {
            let below = if j == 0 { 0.0 } else { left[j - 1] };
            left[j] = (left[j] * i as f64 + below * j as f64) / (i + j) as f64;
        }
    }
    left[short]
}

pub(crate) fn gcd(mut a: usize, mut b: usize) -> usize {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// The chance that the empirical distribution of `n` values is `distance` or more away from the law they come from, by the
/// methods and borders that Simard and L'Ecuyer (2011) chose and scipy uses.
pub(crate) fn one_sample(n: u64, distance: f64) -> f64 {
    let size = n as f64;
    let t = size * distance;
    if n == 0 || distance.is_nan() || t <= 0.5 {
        return 1.0;
    }
    if distance >= 1.0 {
        return 0.0;
    }
    let scaled = t * distance;
    let p = if distance >= 0.5 || (n > 140 && scaled >= 2.2) || scaled > 4.0 {
        2.0 * one_sided(size, distance)
    } else if n <= 140 || (n <= 100_000 && size * distance.powf(1.5) <= 1.4) {
        1.0 - matrix(n, distance)
    } else {
        1.0 - pelz_good(size, distance)
    };
    p.clamp(0.0, 1.0)
}

/// The one-sided law (Birnbaum and Tingey 1951): `x · Σ C(n,j) (x + j/n)^(j-1) (1 - x - j/n)^(n-j)`, all terms positive, each a
/// binomial probability in the form of Loader (2000).
fn one_sided(n: f64, x: f64) -> f64 {
    let t = n * x;
    let mut sum = (n * (-x).ln_1p()).exp() / x;
    let mut j = 1.0;
    while n - j - t > 0.0 {
        let rest = n - j;
        let exponent = j * (t / j).ln_1p() + rest * (-t / rest).ln_1p();
        let scale = stirling_error(n) - stirling_error(j) - stirling_error(rest);
        let probability = (exponent + scale).exp() * (n / (2.0 * PI * j * rest)).sqrt();
        sum += probability / (x + j / n);
        j += 1.0;
    }
    (x * sum).min(1.0)
}

/// `ln n!` less Stirling's formula.
fn stirling_error(n: f64) -> f64 {
    if n <= 16.0 {
        let factorial: f64 = (1..=n as u32).map(f64::from).product();
        return factorial.ln() - (0.5 * (2.0 * PI * n).ln() + n * n.ln() - n);
    }
    let square = n * n;
    (1.0 / 12.0 - (1.0 / 360.0 - (1.0 / 1260.0 - (1.0 / 1680.0 - 1.0 / 1188.0 / square) / square) / square) / square) / n
}

/// The distribution function by powers of Durbin's matrix (Marsaglia, Tsang and Wang 2003); exact, for few values near their law.
fn matrix(n: u64, distance: f64) -> f64 {
    const HUGE: f64 = 1e140;
    let t = n as f64 * distance;
    let k = t.ceil() as usize;
    let h = k as f64 - t;
    let size = 2 * k - 1;
    let mut step = vec![0.0; size * size];
    for row in 0..size {
        for column in 0..size.min(row + 2) {
            step[row * size + column] = 1.0;
        }
    }
    for i in 0..size {
        step[i * size] -= h.powi(i as i32 + 1);
        step[(size - 1) * size + i] -= h.powi((size - i) as i32);
    }
    step[(size - 1) * size] += (2.0 * h - 1.0).max(0.0).powi(size as i32);
    for row in 0..size {
        let mut factorial = 1.0;
        for column in (0..=row).rev() {
            factorial *= (row - column + 1) as f64;
            step[row * size + column] /= factorial;
        }
    }
    let mut power: Vec<f64> = (0..size * size).map(|at| if at % (size + 1) == 0 { 1.0 } else { 0.0 }).collect();
    // Powers of 1e140 taken out of `power` and of `step`.
    let (mut power_scale, mut step_scale, mut rest) = (0i32, 0i32, n);
    let middle = (k - 1) * size + k - 1;
    while rest > 0 {
        if rest % 2 == 1 {
            power = product(&power, &step, size);
            power_scale += step_scale;
        }
        step = product(&step, &step, size);
        step_scale *= 2;
        for (matrix, scale) in [(&mut step, &mut step_scale), (&mut power, &mut power_scale)] {
            if matrix[middle] > HUGE {
                matrix.iter_mut().for_each(|value| *value /= HUGE);
                *scale += 1;
            }
        }
        rest /= 2;
    }
    let mut p = power[middle];
    for i in 1..=n {
        p *= i as f64 / n as f64;
        if p < 1.0 / HUGE {
            p *= HUGE;
            power_scale -= 1;
        }
    }
    p * HUGE.powi(power_scale)
}

fn product(a: &[f64], b: &[f64], size: usize) -> Vec<f64> {
    let mut result = vec![0.0; size * size];
    for (row, sums) in result.chunks_mut(size).enumerate() {
        for (factor, column) in a[row * size..(row + 1) * size].iter().zip(b.chunks(size)) {
            for (sum, value) in sums.iter_mut().zip(column) {
                *sum += factor * value;
            }
        }
    }
    result
}

/// The distribution function for many values: the limit and three corrections in powers of `n^-½` (Pelz and Good 1976).
fn pelz_good(n: f64, x: f64) -> f64 {
    let z = n.sqrt() * x;
    let z2 = z * z;
    let (z4, z6) = (z2 * z2, z2 * z2 * z2);
    let p2 = PI * PI;
    let (p4, p6) = (p2 * p2, p2 * p2 * p2);
    let mut k = [0.0; 4];
    let terms = (16.0 * z / PI).ceil() as u32;
    for term in (1..=terms).rev().map(f64::from) {
        // Odd whole numbers over 2, and whole numbers.
        let m2 = (2.0 * term - 1.0).powi(2);
        let (m4, m6) = (m2 * m2, m2 * m2 * m2);
        let weight = (-p2 * m2 / (8.0 * z2)).exp();
        k[0] += weight;
        k[1] += weight * (-z2 + p2 / 4.0 * m2);
        k[2] += weight * (6.0 * z6 + 2.0 * z4 + (2.0 * z4 - 5.0 * z2) * p2 / 4.0 * m2 + p4 * (1.0 - 2.0 * z2) / 16.0 * m4);
        k[3] += weight
            * (-30.0 * z6 - 90.0 * z4 * z4
                + p2 * (135.0 * z4 - 96.0 * z6) / 4.0 * m2
                + p4 * (-60.0 * z2 + 212.0 * z4) / 16.0 * m4
                + p6 * (5.0 - 30.0 * z2) / 64.0 * m6);
    }
    let (mut k2_rest, mut k3_rest) = (0.0, 0.0);
    for term in (1..=terms).rev().map(f64::from) {
        let square = term * term;
        let weight = square * (-p2 * square / (2.0 * z2)).exp();
        k2_rest += weight;
        k3_rest += weight * (3.0 * z2 - p2 * square);
    }
    let root = (2.0 * PI).sqrt();
    let k0 = root * k[0] / z;
    let k1 = root * k[1] / (6.0 * z4);
    let k2 = root * k[2] / (72.0 * z6 * z) - p2 * root * k2_rest / (36.0 * z2 * z);
    let k3 = root * k[3] / (6480.0 * z4 * z6) + p2 * root * k3_rest / (216.0 * z6);
    k0 + k1 / n.sqrt() + k2 / n + k3 / n.powf(1.5)
}
