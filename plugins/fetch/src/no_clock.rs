//! Keeps the clock out of the component.
//!
//! The HTML parser has code that measures its own time, which never runs here; but by being there it makes the component
//! import `wasi:clocks`, and the host refuses a plugin that imports what it has no requirement for. So the C library's
//! function for it is defined here, and the one that would import a clock is never linked.

/// Time stands still.
///
/// # Safety
///
/// `time` is null or points to a `timespec`, as C's contract says.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(_clock: *const u8, time: *mut Timespec) -> i32 {
    // SAFETY: by the contract above.
    if let Some(time) = unsafe { time.as_mut() } {
        *time = Timespec {
            seconds: 0,
            nanoseconds: 0,
        };
    }
    0
}

/// C's `struct timespec` on wasm32: a 64-bit `time_t` and a 32-bit `long`.
#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: i32,
}
