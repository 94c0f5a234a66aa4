//! Lists that cross between a column and a guest in one copy.
//!
//! Out: wasmtime lowers a list from a slice, a vector or a shared one of its own choosing. A column is neither, and gathering it in one
//! first costs as much as the copy into the guest that follows. So [`List`] says of itself what a slice says: every method hands
//! over to the slice's. Back: [`Numbers`].

use std::mem::MaybeUninit;
use std::ops::Deref;
use std::sync::Arc;

use arrow::buffer::{Buffer, ScalarBuffer};
use arrow::datatypes::ArrowNativeType;
use wasmtime::StoreContextMut;
use wasmtime::component::__internal::{CanonicalAbiInfo, InstanceType, InterfaceType, LiftContext, LowerContext};
use wasmtime::component::{ComponentType, Lift, Lower, WasmList};

use super::kernels::canonical;

/// A list on its way into a guest.
pub(crate) enum List<T: ArrowNativeType> {
    /// The memory of a column, shared.
    Column(ScalarBuffer<T>),
    /// Gathered, because it differs from the column.
    Gathered(Arc<Vec<T>>),
}

impl<T: ArrowNativeType> List<T> {
    /// `count` values from `start` of a column's buffer, whose values have the width of `T`.
    pub(crate) fn of_buffer(buffer: &Buffer, start: usize, count: usize) -> List<T> {
        List::Column(ScalarBuffer::new(buffer.clone(), start, count))
    }
}

impl<T: ArrowNativeType> Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            List::Column(values) => values,
            List::Gathered(values) => values,
        }
    }
}

// SAFETY: layout, type check and lowering are those of `[T]`, word for word; nothing here depends on how the values are held.
#[expect(unsafe_code, reason = "wasmtime has no safe way to lower a list from memory of ours")]
unsafe impl<T: ArrowNativeType + ComponentType> ComponentType for List<T> {
    type Lower = <[T] as ComponentType>::Lower;

    const ABI: CanonicalAbiInfo = <[T] as ComponentType>::ABI;
    const MAY_REQUIRE_REALLOC: bool = <[T] as ComponentType>::MAY_REQUIRE_REALLOC;

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> wasmtime::Result<()> {
        <[T] as ComponentType>::typecheck(ty, types)
    }
}

// SAFETY: as above.
#[expect(unsafe_code, reason = "wasmtime has no safe way to lower a list from memory of ours")]
unsafe impl<T: ArrowNativeType + Lower> Lower for List<T> {
    fn linear_lower_to_flat<U>(
        &self,
        cx: &mut LowerContext<'_, U>,
        ty: InterfaceType,
        dst: &mut MaybeUninit<Self::Lower>,
    ) -> wasmtime::Result<()> {
        <[T] as Lower>::linear_lower_to_flat(self, cx, ty, dst)
    }

    fn linear_lower_to_memory<U>(&self, cx: &mut LowerContext<'_, U>, ty: InterfaceType, offset: usize) -> wasmtime::Result<()> {
        <[T] as Lower>::linear_lower_to_memory(self, cx, ty, offset)
    }
}

/// Numbers that a guest hands over, still in its memory: the one copy that is made of them also makes their NaNs canonical. A vector of
/// wasmtime's would be gone through a second time.
pub(crate) struct Numbers(WasmList<u64>);

impl Numbers {
    /// A copy in which the bits of every NaN are those of [`f64::NAN`]: which NaN an operation gives differs between processors.
    pub(crate) fn copied<T: 'static>(&self, store: &StoreContextMut<'_, T>) -> Vec<f64> {
        self.0.as_le_slice(store).iter().map(|bits| canonical(f64::from_bits(u64::from_le(*bits)))).collect()
    }
}

// SAFETY: layout and type check are those of `[f64]`, and a list of `u64` lies in memory as one of `f64`.
#[expect(unsafe_code, reason = "wasmtime has no safe way to look at a list of floats where it lies")]
unsafe impl ComponentType for Numbers {
    type Lower = <[f64] as ComponentType>::Lower;

    const ABI: CanonicalAbiInfo = <[f64] as ComponentType>::ABI;

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> wasmtime::Result<()> {
        <[f64] as ComponentType>::typecheck(ty, types)
    }
}

// SAFETY: a list is lifted without its elements: from where it lies and how long it is, which is checked against a width and an alignment
// of eight bytes, those of `f64` too. The elements are read as integers of that width only, of which every pattern of bits is one.
#[expect(unsafe_code, reason = "wasmtime has no safe way to look at a list of floats where it lies")]
unsafe impl Lift for Numbers {
    fn linear_lift_from_flat(cx: &mut LiftContext<'_>, ty: InterfaceType, src: &Self::Lower) -> wasmtime::Result<Self> {
        WasmList::linear_lift_from_flat(cx, ty, src).map(Numbers)
    }

    fn linear_lift_from_memory(cx: &mut LiftContext<'_>, ty: InterfaceType, bytes: &[u8]) -> wasmtime::Result<Self> {
        WasmList::linear_lift_from_memory(cx, ty, bytes).map(Numbers)
    }
}
