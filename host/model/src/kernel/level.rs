//! Runs one body of code with the widest vector instructions that the CPU has.
//!
//! Invariant: the level changes how fast a body runs, never its bits.
#![expect(unsafe_code, reason = "functions compiled for a vector unit may be called only where the CPU has it")]

/// A piece of arithmetic that gains from wide vectors.
pub(crate) trait Body {
    /// Does the work. Implementations are `#[inline(always)]`, so that each level compiles its own copy.
    fn run(self);
}

/// Runs `body` at the highest level of this CPU.
#[cfg(target_arch = "x86_64")]
pub(crate) fn run(body: impl Body) {
    if std::arch::is_x86_feature_detected!("avx512f") && std::arch::is_x86_feature_detected!("fma") {
        // SAFETY: the features that `avx512` is compiled for were detected on this CPU one line above.
        unsafe { avx512(body) }
    } else if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
        // SAFETY: the features that `avx2` is compiled for were detected on this CPU one line above.
        unsafe { avx2(body) }
    } else {
        body.run();
    }
}

/// Runs `body`; the base level of other architectures has fused multiply-add already.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn run(body: impl Body) {
    body.run();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma")]
fn avx512(body: impl Body) {
    body.run();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(body: impl Body) {
    body.run();
}
