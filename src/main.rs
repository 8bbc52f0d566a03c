//! The `karat` binary.

fn main() -> std::process::ExitCode {
    // The Makefile passes the commit. It is read here, so that another commit does not compile the library again.
    karat::cli::main(option_env!("KARAT_COMMIT"))
}
