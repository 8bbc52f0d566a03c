//! Arguments, one printer, the exit code.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use karat::commands::{Invalid, init, plan, validate};

/// Build golden machine images whose purity can be proved
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Init(init::InitArgs),
    Validate(validate::ValidateArgs),
    Plan(plan::PlanArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut out = io::stdout().lock();
    match cli.verb {
        Verb::Init(args) => match init::run(&args, &mut out) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error @ init::InitError::Exists { .. }) => failed(&error, 2),
            Err(error) => failed(&error, 1),
        },
        Verb::Validate(args) => checked(validate::run(&args, &mut out)),
        Verb::Plan(args) => checked(plan::run(&args, &mut out)),
    }
}

/// Prints what, why and how to mend it.
fn failed(error: &dyn miette::Diagnostic, code: u8) -> ExitCode {
    // Writing to a String cannot fail.
    let mut text = format!("error: {error}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    if let Some(help) = error.help() {
        let _ = write!(text, "\n  help: {help}");
    }
    let _ = writeln!(io::stderr(), "{text}");
    ExitCode::from(code)
}

fn checked(result: io::Result<Result<(), Invalid>>) -> ExitCode {
    match result {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(invalid)) => {
            let color = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            let _ = writeln!(io::stderr(), "{}", invalid.render(color));
            ExitCode::from(2)
        }
        // Whoever read stdout has gone, and knows it.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: cannot write to stdout: {error}");
            ExitCode::FAILURE
        }
    }
}
