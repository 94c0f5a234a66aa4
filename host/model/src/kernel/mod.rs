//! The arithmetic of training and prediction on CPUs, over plain slices.
//!
//! Invariant: every sum is taken in one fixed order, whatever the number of threads, the number of rows in the call, and the
//! width of the vector unit: products are added one after the other with [`f32::mul_add`], and vectors run across independent
//! outputs only. So a row has the same bits alone and in a batch, and a training the same bits on every CPU that rounds as
//! IEEE 754 says. Exponentials and logarithms are our own, because those of C libraries differ between machines.

mod adamw;
mod dense;
mod level;
mod math;
mod matmul;
mod softmax;

pub(crate) use adamw::{AdamwStep, adamw};
pub(crate) use dense::{dense, dense_backward};
pub(crate) use math::{cos_pi, exp, ln};
pub(crate) use softmax::{cross_entropy, cross_entropy_backward, softmax};
