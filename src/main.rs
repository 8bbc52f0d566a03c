//! Arguments, one printer, the exit code.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use karat::commands::{export, list, show, stored::StoredError};
use karat::ui::Ui;
use miette::Diagnostic;

/// Build golden machine images whose purity can be proved
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    List(list::ListArgs),
    Show(show::ShowArgs),
    Export(export::ExportArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("the kernel gives an event queue");
    let mut out = std::io::stdout().lock();
    let outcome = match cli.verb {
        Verb::List(args) => list::run(&args, &mut out),
        Verb::Show(args) => show::run(&args, &mut out),
        Verb::Export(args) => runtime.block_on(export::run(&args, &Ui)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

/// Prints what, why and how to mend it.
fn failed(error: &StoredError) -> ExitCode {
    let code = error.exit_code();
    if code == 0 {
        return ExitCode::SUCCESS;
    }
    let mut text = format!("error: {error}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        // Writing to a String cannot fail.
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    if let Some(help) = error.help() {
        let _ = write!(text, "\n  help: {help}");
    }
    drop(writeln!(std::io::stderr(), "{text}"));
    ExitCode::from(code)
}
