//! Lists that a host function hands to a guest straight from a column.
//!
//! wasmtime lowers a list from a slice, a vector or a shared one of its own choosing. A column is neither, and gathering it in one
//! first costs as much as the copy into the guest that follows. So this type says of itself what a slice says: every method hands
//! over to the slice's.

use std::mem::MaybeUninit;
use std::ops::Deref;
use std::sync::Arc;

use arrow::buffer::{Buffer, ScalarBuffer};
use arrow::datatypes::ArrowNativeType;
use wasmtime::component::__internal::{CanonicalAbiInfo, InstanceType, InterfaceType, LowerContext};
use wasmtime::component::{ComponentType, Lower};

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
