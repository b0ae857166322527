//! Tollgate.
use std::process::ExitCode;

fn main() -> ExitCode {
    match tollgate::runtime::compile_child() {
        Ok(code) => ExitCode::from(code),
        Err(_) => ExitCode::FAILURE,
    }
}
