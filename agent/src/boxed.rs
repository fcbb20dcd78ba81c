//! Futures on the heap, without a copy that stays on the stack of who polls them.

use std::pin::Pin;

/// Makes a future and moves it to the heap. A session's stack is never freed before its thread ends, and a large
/// future that is made in the frame that polls it takes its size there too.
#[inline(never)]
pub(crate) fn boxed<'a, F>(
    make: impl FnOnce() -> F,
) -> Pin<Box<dyn Future<Output = F::Output> + 'a>>
where
    F: Future + 'a,
{
    Box::pin(make())
}
