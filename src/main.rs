//! The `karat` binary.

fn main() -> std::process::ExitCode {
    karat::cli::main()
}
