//! Why provisioning failed.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use miette::Diagnostic;
use thiserror::Error;

use crate::machine::MachineError;
use crate::ssh::SshError;

use super::packages::PackageError;

/// Why a machine could not be provisioned.
#[derive(Debug, Error, Diagnostic)]
pub enum ProvisionError {
    /// A step failed in its last try; `help` is that of the cause.
    #[error("the step {name:?} failed{}", times(*.tries))]
    Step {
        /// Name of the step.
        name: String,
        /// How often it was tried.
        tries: u32,
        /// Why the last try failed.
        source: Box<ProvisionError>,
        /// What the cause advises.
        #[help]
        help: Option<String>,
    },
    /// A script ended with an exit code that does not mean success.
    #[error("the script ended with {}", ending(*.code))]
    #[diagnostic(help("correct the script, or list the code in `exit_codes` if it means success"))]
    Exit {
        /// The exit code; `None` when not even the shell around the script could tell.
        code: Option<u32>,
        /// The end of what it wrote.
        #[source]
        output: Option<Tail>,
    },
    /// It asked the network for something that the template does not allow.
    #[error("{}", .sentences.join("\n"))]
    #[diagnostic(help(
        "allow it, with its `sha256` if it is one file; or put it in place with [[files]], or install a package instead. \
         With `on_refused = \"warn\"` in [network] steps may go on without it"
    ))]
    Refused {
        /// What was refused.
        sentences: Vec<String>,
        /// How it failed, unless it came to its end all the same.
        #[source]
        source: Option<Box<ProvisionError>>,
    },
    /// Nothing came of it in time.
    #[error("it was not done after {after:?} and was ended")]
    #[diagnostic(help(
        "raise the step's `timeout`, or look at the end of its output for what it waits for"
    ))]
    Timeout {
        /// The step's time limit.
        after: Duration,
        /// The end of what it wrote.
        #[source]
        output: Option<Tail>,
    },
    /// The connection dropped while a script ran.
    #[error("the connection dropped while the script ran")]
    #[diagnostic(help(
        "set `expect_disconnect = true`, or use a `reboot` step, if that is wanted"
    ))]
    Dropped {
        /// What SSH knows about it.
        source: Box<SshError>,
    },
    /// The machine ended by itself.
    #[error("the machine died: {0}")]
    #[diagnostic(help(
        "read the machine's console; a kernel panic or a `poweroff` in a script ends like this"
    ))]
    Died(String),
    /// The script's interpreter is not in the machine.
    #[error("the interpreter {0} is not in the machine")]
    #[diagnostic(help(
        "install the package that has it (`packages.apt.install`), or correct the script's first line"
    ))]
    Interpreter(String),
    /// A script with CR LF at the end of its first line.
    #[error("{0} has Windows line endings (CR LF), with which no interpreter would be found")]
    #[diagnostic(help(
        "convert it with `dos2unix`; in git, `*.sh text eol=lf` in `.gitattributes` keeps it so"
    ))]
    LineEndings(String),
    /// A script that cannot be read.
    #[error("cannot read the script {}", path.display())]
    #[diagnostic(help("check that the file exists and that you may read it"))]
    Script {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not the name of an environment variable.
    #[error("{0:?} cannot be the name of an environment variable")]
    #[diagnostic(help("use letters, digits and `_`, not beginning with a digit"))]
    VariableName(String),
    /// A value that no environment variable can hold.
    #[error("the value of the environment variable {0} holds a NUL character")]
    #[diagnostic(help("pass it as a file, or encoded"))]
    VariableValue(String),
    /// The user of a step does not exist.
    #[error("there is no user {0:?} in the machine")]
    #[diagnostic(help("create the user in an earlier step, or correct the step's `user`"))]
    User(String),
    /// The working directory of a step cannot be entered.
    #[error(
        "the working directory {0} does not exist in the machine, or its user may not enter it"
    )]
    #[diagnostic(help("create it in an earlier step, or correct the step's `working_directory`"))]
    WorkingDirectory(String),
    /// The machine could not take the script.
    #[error("the machine could not take the script: {0}")]
    #[diagnostic(help("check that `/run` of the machine is writable and not full"))]
    Place(String),
    /// Not the name of a package.
    #[error("{0:?} is not the name of a package")]
    #[diagnostic(help(
        "write `name` or `name=version`, as in `nginx-light` or `curl=7.88.1-10+deb12u12`"
    ))]
    PackageName(String),
    /// No source has a declared package.
    #[error("apt has no such package in the sources of the base: {}", .0.join(", "))]
    #[diagnostic(help(
        "check the spelling and that the base's sources have its component (main, universe, ...); a virtual package is not one"
    ))]
    UnknownPackage(Vec<String>),
    /// No source has the declared version.
    #[error("apt has no such version in the sources of the base: {}", .0.join(", "))]
    #[diagnostic(help("`apt-cache policy NAME` in the machine shows the versions there are"))]
    UnknownVersion(Vec<String>),
    /// apt said it is done, but a declared package is not there.
    #[error("not as declared after the packages were installed: {}", .0.join("; "))]
    #[diagnostic(help("a virtual package cannot be declared: name the package that provides it"))]
    NotAsDeclared(Vec<String>),
    /// A phase of apt's work failed.
    #[error("{phase} failed")]
    #[diagnostic(help("{advice}"))]
    Apt {
        /// What failed.
        phase: &'static str,
        /// How to mend it.
        advice: &'static str,
        /// The end of what apt wrote.
        #[source]
        output: Option<Tail>,
    },
    /// The reboot could not even be asked for.
    #[error("the machine could not be told to reboot")]
    #[diagnostic(help("the machine needs `systemctl` or `reboot`"))]
    Reboot {
        /// What it said.
        #[source]
        output: Option<Tail>,
    },
    /// The machine did not come back.
    #[error("the machine was not back {after:?} after the reboot began")]
    #[diagnostic(help("raise the step's `timeout`, or read the machine's console"))]
    NotBack {
        /// The step's time limit.
        after: Duration,
        /// Why the last try to reach it failed.
        #[source]
        last: Option<Box<MachineError>>,
    },
    /// The destination of a download cannot be made.
    #[error("cannot make the directory {}", path.display())]
    #[diagnostic(help("check that you may write there"))]
    Destination {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Text without a file name to give it.
    #[error("the destination {0} is a directory, and `content` has no file name of its own")]
    #[diagnostic(help("write the whole path of the file"))]
    NoFileName(String),
    /// Packages could not be resolved.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Package(Box<PackageError>),
    /// SSH failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Ssh(Box<SshError>),
    /// The machine could not be reached again.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Machine(Box<MachineError>),
}

impl From<PackageError> for ProvisionError {
    fn from(error: PackageError) -> Self {
        Self::Package(Box::new(error))
    }
}

impl From<SshError> for ProvisionError {
    fn from(error: SshError) -> Self {
        Self::Ssh(Box::new(error))
    }
}

impl From<MachineError> for ProvisionError {
    fn from(error: MachineError) -> Self {
        Self::Machine(Box::new(error))
    }
}

/// The end of what a script wrote, without secrets.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("the end of its output:\n{}", .0.join("\n"))]
pub struct Tail(pub Vec<String>);

impl ProvisionError {
    /// Whether another try cannot help.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Machine(error) => matches!(**error, MachineError::Died(_)),
            Self::Died(_)
            | Self::Refused { .. }
            | Self::LineEndings(_)
            | Self::VariableName(_)
            | Self::VariableValue(_)
            | Self::NoFileName(_) => true,
            _ => false,
        }
    }

    /// The error of a whole step.
    pub(super) fn of_step(self, name: &str, tries: u32) -> Self {
        let help = self.help().map(|help| help.to_string());
        Self::Step {
            name: name.to_owned(),
            tries,
            source: Box::new(self),
            help,
        }
    }
}

fn times(tries: u32) -> String {
    if tries > 1 {
        format!(" {tries} times; the last time")
    } else {
        String::new()
    }
}

fn ending(code: Option<u32>) -> String {
    match code {
        // A shell's way to say that a signal ended its child.
        Some(code @ 129..=159) => format!("exit code {code} (signal {})", code - 128),
        Some(code) => format!("exit code {code}"),
        None => "no exit code".to_owned(),
    }
}
