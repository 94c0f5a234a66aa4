//! Limited-memory BFGS (Nocedal and Wright, Numerical Optimization, algorithm 7.4) for smooth convex objectives.

use std::collections::VecDeque;

/// Pairs of movements and changes of the gradient that the approximation of the Hessian is made of.
pub(crate) const PAIRS_MAX: usize = 10;
/// The largest component of a gradient that counts as none.
const GRADIENT_MAX: f64 = 1e-8;
/// Relative error of an objective that is a sum over many rows.
const ROUNDING: f64 = 1e-12;
/// Share of the decrease promised by the gradient that a step must give (Armijo).
const DECREASE_SHARE: f64 = 1e-4;
/// Halvings of one step at most.
const HALVINGS_MAX: u32 = 40;

/// The optimiser between two steps.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Lbfgs {
    /// Where it stands.
    pub point: Vec<f64>,
    /// The gradient there.
    pub gradient: Vec<f64>,
    /// The objective there.
    pub loss: f64,
    /// Latest movements, each with the change of the gradient over it, oldest first.
    pub pairs: VecDeque<(Vec<f64>, Vec<f64>)>,
    /// Steps done.
    pub steps: u64,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The objective became smaller.
    Moved,
    /// The gradient vanishes here, as far as double precision can tell.
    Converged,
}

impl Lbfgs {
    /// An optimiser that starts at `point`.
    pub(crate) fn new(point: Vec<f64>, objective: &impl Fn(&[f64]) -> (f64, Vec<f64>)) -> Lbfgs {
        let (loss, gradient) = objective(&point);
        Lbfgs { point, gradient, loss, pairs: VecDeque::new(), steps: 0 }
    }
}

/// Moves to a point with a smaller objective.
pub(crate) fn step(state: &mut Lbfgs, objective: &impl Fn(&[f64]) -> (f64, Vec<f64>)) -> Outcome {
    if state.gradient.iter().all(|component| component.abs() <= GRADIENT_MAX) {
        return Outcome::Converged;
    }
    let mut direction = direction(state);
    let mut slope = dot(&direction, &state.gradient);
    if slope >= 0.0 {
        state.pairs.clear();
        direction = state.gradient.iter().map(|component| -component).collect();
        slope = -dot(&state.gradient, &state.gradient);
    }
    // Without pairs the direction has no length of its own; a step of length 1 is safe for standardised inputs.
    let mut size = if state.pairs.is_empty() { (1.0 / slope.abs().sqrt()).min(1.0) } else { 1.0 };
    for _ in 0..HALVINGS_MAX {
        let point: Vec<f64> = state.point.iter().zip(&direction).map(|(at, along)| at + size * along).collect();
        let (loss, gradient) = objective(&point);
        // Close to the minimum the decrease is smaller than rounding; there the step is judged by its slope alone.
        let rounding = ROUNDING * state.loss.abs();
        let enough = loss <= state.loss + DECREASE_SHARE * size * slope;
        let flat = loss <= state.loss + rounding && dot(&direction, &gradient).abs() <= 0.9 * slope.abs();
        if enough || flat {
            accept(state, point, gradient, loss);
            return Outcome::Moved;
        }
        size /= 2.0;
    }
    Outcome::Converged
}

fn accept(state: &mut Lbfgs, point: Vec<f64>, gradient: Vec<f64>, loss: f64) {
    let moved: Vec<f64> = point.iter().zip(&state.point).map(|(new, old)| new - old).collect();
    let changed: Vec<f64> = gradient.iter().zip(&state.gradient).map(|(new, old)| new - old).collect();
    // A pair without positive curvature would make the approximation indefinite.
    if dot(&moved, &changed) > 1e-12 * dot(&changed, &changed).sqrt() * dot(&moved, &moved).sqrt() {
        state.pairs.push_back((moved, changed));
        if state.pairs.len() > PAIRS_MAX {
            state.pairs.pop_front();
        }
    }
    (state.point, state.gradient, state.loss) = (point, gradient, loss);
    state.steps += 1;
}

/// Minus the approximate inverse Hessian times the gradient.
fn direction(state: &Lbfgs) -> Vec<f64> {
    let mut direction: Vec<f64> = state.gradient.iter().map(|component| -component).collect();
    let mut shares = Vec::with_capacity(state.pairs.len());
    for (moved, changed) in state.pairs.iter().rev() {
        let share = dot(moved, &direction) / dot(moved, changed);
        add(&mut direction, changed, -share);
        shares.push(share);
    }
    if let Some((moved, changed)) = state.pairs.back() {
        let scale = dot(moved, changed) / dot(changed, changed);
        direction.iter_mut().for_each(|component| *component *= scale);
    }
    for ((moved, changed), share) in state.pairs.iter().zip(shares.into_iter().rev()) {
        let correction = dot(changed, &direction) / dot(moved, changed);
        add(&mut direction, moved, share - correction);
    }
    direction
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(to: &mut [f64], what: &[f64], times: f64) {
    for (to, what) in to.iter_mut().zip(what) {
        *to += times * what;
    }
}
