//! The `tollgate` program. Everything it does is in the library's `cli`.

fn main() -> std::process::ExitCode {
    tollgate::cli::main()
}
