//! What Debian's C library, which is older than WASI 0.2, would import of WASI 0.1. Compiled for the guests of the
//! private toolchain only: without it an adapter is put into each, which imports the file system that a host of
//! Tollgate refuses. There are no files, arguments or variables; what is written to standard output is dropped.
#![no_std]

use core::arch::wasm32::unreachable;

/// `errno` values of WASI 0.1.
const SUCCESS: i32 = 0;
const BAD_DESCRIPTOR: i32 = 8;
const NOT_SUPPORTED: i32 = 52;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    unreachable()
}

macro_rules! answers {
    ($($name:ident($($kind:ty),*) = $answer:expr;)*) => {
        $(#[unsafe(no_mangle)]
        extern "C" fn $name($(_: $kind),*) -> i32 {
            $answer
        })*
    };
}

answers! {
    __imported_wasi_snapshot_preview1_clock_res_get(i32, i32) = NOT_SUPPORTED;
    __imported_wasi_snapshot_preview1_clock_time_get(i32, i64, i32) = NOT_SUPPORTED;
    __imported_wasi_snapshot_preview1_fd_close(i32) = BAD_DESCRIPTOR;
    __imported_wasi_snapshot_preview1_fd_fdstat_get(i32, i32) = BAD_DESCRIPTOR;
    __imported_wasi_snapshot_preview1_fd_fdstat_set_flags(i32, i32) = BAD_DESCRIPTOR;
    __imported_wasi_snapshot_preview1_fd_filestat_get(i32, i32) = BAD_DESCRIPTOR;
    __imported_wasi_snapshot_preview1_fd_prestat_get(i32, i32) = BAD_DESCRIPTOR;
    __imported_wasi_snapshot_preview1_fd_prestat_dir_name(i32, i32, i32) = BAD_DESCRIPTOR;
    __imported_wasi_snapshot_preview1_fd_seek(i32, i64, i32, i32) = BAD_DESCRIPTOR;
    __imported_wasi_snapshot_preview1_poll_oneoff(i32, i32, i32, i32) = NOT_SUPPORTED;
    __imported_wasi_snapshot_preview1_random_get(i32, i32) = NOT_SUPPORTED;
    __imported_wasi_snapshot_preview1_sched_yield() = SUCCESS;
}

/// Sets both counts to nothing.
unsafe fn nothing(first: *mut u32, second: *mut u32) -> i32 {
    // SAFETY: the C library passes the addresses of two counts.
    unsafe {
        first.write(0);
        second.write(0);
    }
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __imported_wasi_snapshot_preview1_environ_sizes_get(count: *mut u32, size: *mut u32) -> i32 {
    unsafe { nothing(count, size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __imported_wasi_snapshot_preview1_args_sizes_get(count: *mut u32, size: *mut u32) -> i32 {
    unsafe { nothing(count, size) }
}

answers! {
    __imported_wasi_snapshot_preview1_environ_get(i32, i32) = SUCCESS;
    __imported_wasi_snapshot_preview1_args_get(i32, i32) = SUCCESS;
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __imported_wasi_snapshot_preview1_fd_write(_: i32, parts: *const [u32; 2], count: usize, written: *mut u32) -> i32 {
    let mut total = 0_u32;
    for index in 0..count {
        // SAFETY: the C library passes that many pairs of address and length, and the address of a count.
        total = total.wrapping_add(unsafe { (*parts.add(index))[1] });
    }
    unsafe { written.write(total) };
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __imported_wasi_snapshot_preview1_fd_read(_: i32, _: i32, _: i32, read: *mut u32) -> i32 {
    // SAFETY: the C library passes the address of a count.
    unsafe { read.write(0) };
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn __imported_wasi_snapshot_preview1_proc_exit(_: i32) -> ! {
    unreachable()
}
