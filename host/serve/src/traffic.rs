//! Sharing requests out while a version is rolled out: what the server asks of whoever decides, and what it tells back.

use std::sync::Arc;

use tidegate_vocab::TrafficArm;

use crate::ports::Arm;

/// A version that takes over requests, beside the champion.
#[derive(Clone)]
pub struct RolloutRoute {
    /// The version, loaded.
    pub arm: Arc<Arm>,
    /// Who says which requests are its own.
    pub traffic: Arc<dyn Traffic>,
}

/// Who says which requests a version answers that is rolled out, and counts what came of them. Calls never block.
pub trait Traffic: Send + Sync {
    /// Where a request belongs; the same key stays where it is, or joins an arm as shares rise.
    fn place(&self, key: &str) -> Place;

    /// A request of an arm is over.
    fn answered(&self, arm: TrafficArm, ended: Ended);

    /// A mirrored request is over.
    fn mirrored(&self, mirrored: Mirrored);
}

/// Where a request belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// One of the arms answers it.
    Arm(TrafficArm),
    /// The champion answers it; the new version gets a copy, and nobody sees what it says.
    Mirrored,
}

/// How a request of an arm ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ended {
    /// Seconds it took the arm.
    pub seconds: f64,
    /// Whether the arm could not answer it.
    pub failed: bool,
    /// What the new version did that the champion did not, on the same request.
    pub fault: Option<ArmFault>,
}

/// What no version may do even once where the champion does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArmFault {
    /// An internal error.
    ServerError,
    /// A probability that is no number.
    NotANumber,
}

/// How a mirrored request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mirrored {
    /// The new version answered it.
    Answered {
        /// Rows in it.
        rows: u64,
        /// Rows to which it gave the champion's class.
        agreed: u64,
    },
    /// It did what no version may do.
    Fault(ArmFault),
    /// It was not asked, because answering users comes first.
    Shed,
}
