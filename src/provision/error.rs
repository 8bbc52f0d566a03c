//! Provisioning errors.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use miette::Diagnostic;
use thiserror::Error;

use super::packages::PackageError;
use crate::machine::MachineError;
use crate::plan::{Place, TemplateSource, Upload};
use crate::ssh::SshError;
use crate::ui::report::{Position, Tail};

/// An error while provisioning a machine.
#[derive(Debug, Error, Diagnostic)]
#[expect(
    missing_docs,
    reason = "the messages explain the variants and their fields"
)]
pub enum ProvisionError {
    /// A step failed in its last try. `help` repeats the advice of the cause.
    #[error("the step {name:?} failed{}", times(*.tries))]
    Step {
        name: String,
        tries: u32,
        source: Box<ProvisionError>,
        #[help]
        help: Option<String>,
        /// Place of the step, or of the line that failed, in the template.
        position: Option<Position>,
    },
    /// A file of the template could not be uploaded.
    #[error("{error}")]
    #[diagnostic(forward(error))]
    File {
        error: Box<SshError>,
        /// Place of the file in the template.
        position: Option<Position>,
    },
    /// A script failed. `code` is `None` if even the shell around the script could not tell.
    #[error("the script failed with {}{}", exit_status(*.code), at_line(.line.as_ref()))]
    #[diagnostic(help("correct the script, or list the code in `exit_codes` if it means success"))]
    Exit {
        code: Option<u32>,
        /// `None` if the shell did not tell.
        line: Option<FailedLine>,
        #[source]
        output: Option<Tail>,
    },
    /// A step requested URLs that the template does not allow. `source` is its own error, if it failed.
    #[error("{}", .sentences.join("\n"))]
    #[diagnostic(help(
        "allow it, with its `sha256` if it is one file; or upload it with [[files]], or install a package instead. \
         `on_refused = \"warn\"` in [network] lets steps continue without it"
    ))]
    Refused {
        sentences: Vec<String>,
        #[source]
        source: Option<Box<ProvisionError>>,
    },
    #[error("timed out after {after:?} and was terminated")]
    #[diagnostic(help(
        "raise the step's `timeout`, or check the end of its output for what it is waiting for"
    ))]
    Timeout {
        after: Duration,
        #[source]
        output: Option<Tail>,
    },
    #[error("the connection dropped while the script ran")]
    #[diagnostic(help(
        "if this is intended, set `expect_disconnect = true` or use a `reboot` step"
    ))]
    Dropped { source: Box<SshError> },
    /// The machine stopped unexpectedly.
    #[error("the machine died: {0}")]
    #[diagnostic(help(
        "check the machine's console; a kernel panic or a `poweroff` in a script looks like this"
    ))]
    Died(String),
    #[error("the interpreter {0} does not exist in the machine")]
    #[diagnostic(help(
        "install its package (`packages.apt.install`), or correct the script's first line"
    ))]
    Interpreter(String),
    /// The first line of a script ends with CR LF.
    #[error("{0} has Windows line endings (CR LF), so its interpreter would not be found")]
    #[diagnostic(help(
        "convert it with `dos2unix`; in git, `*.sh text eol=lf` in `.gitattributes` keeps it so"
    ))]
    LineEndings(String),
    #[error("cannot read the script {}", path.display())]
    #[diagnostic(help("check that the file exists and that you may read it"))]
    Script { path: PathBuf, source: io::Error },
    #[error("invalid environment variable name {0:?}")]
    #[diagnostic(help("use letters, digits and `_`, not beginning with a digit"))]
    VariableName(String),
    #[error("the value of the environment variable {0} contains a NUL character")]
    #[diagnostic(help("pass it as a file, or encoded"))]
    VariableValue(String),
    #[error("the user {0:?} does not exist in the machine")]
    #[diagnostic(help("create the user in an earlier step, or correct the step's `user`"))]
    User(String),
    #[error(
        "the working directory {0} does not exist in the machine, or the step's user may not enter it"
    )]
    #[diagnostic(help("create it in an earlier step, or correct the step's `working_directory`"))]
    WorkingDirectory(String),
    #[error("cannot store the script in the machine: {0}")]
    #[diagnostic(help("check that `/run` of the machine is writable and not full"))]
    Place(String),
    #[error("invalid package name {0:?}")]
    #[diagnostic(help(
        "write `name` or `name=version`, as in `nginx-light` or `curl=7.88.1-10+deb12u12`"
    ))]
    PackageName(String),
    #[error("apt does not know these packages: {}", .0.join(", "))]
    #[diagnostic(help(
        "check the spelling, and that the base's sources include its component (main, universe, ...); virtual packages do not count"
    ))]
    UnknownPackage(Vec<String>),
    #[error("apt does not know these package versions: {}", .0.join(", "))]
    #[diagnostic(help("`apt-cache policy NAME` in the machine lists the available versions"))]
    UnknownVersion(Vec<String>),
    #[error("the installed packages differ from the declared ones: {}", .0.join("; "))]
    #[diagnostic(help("virtual packages cannot be declared; name the package that provides it"))]
    NotAsDeclared(Vec<String>),
    #[error("{phase} failed")]
    #[diagnostic(help("{advice}"))]
    Apt {
        phase: &'static str,
        advice: &'static str,
        #[source]
        output: Option<Tail>,
    },
    #[error("cannot reboot the machine")]
    #[diagnostic(help("the machine needs `systemctl` or `reboot`"))]
    Reboot {
        #[source]
        output: Option<Tail>,
    },
    #[error("the machine did not come back within {after:?} of the reboot")]
    #[diagnostic(help("raise the step's `timeout`, or check the machine's console"))]
    NotBack {
        after: Duration,
        #[source]
        last: Option<Box<MachineError>>,
    },
    #[error("cannot create the directory {}", path.display())]
    #[diagnostic(help("check that you have write permission"))]
    Destination { path: PathBuf, source: io::Error },
    #[error("the destination {0} is a directory, and `content` has no file name")]
    #[diagnostic(help("give the full path of the file"))]
    NoFileName(String),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Package(Box<PackageError>),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Ssh(Box<SshError>),
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

/// Line of a script at which it failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FailedLine {
    /// Counts from 1 in the whole script.
    pub number: usize,
    /// Its text, without secrets.
    pub text: String,
    /// Index of the `inline` string that has it, and of the line in that.
    pub inline: Option<(usize, usize)>,
}

impl ProvisionError {
    /// Returns true if a retry cannot succeed.
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

    /// Wraps the error of a step's last try.
    pub(super) fn of_step(self, name: &str, tries: u32) -> Self {
        let help = self.help().map(|help| help.to_string());
        Self::Step {
            name: name.to_owned(),
            tries,
            source: Box::new(self),
            help,
            position: None,
        }
    }

    /// Adds the place of the failed step in the template.
    pub(crate) fn at(mut self, place: &Place, template: &TemplateSource) -> Self {
        if let Self::Step {
            position, source, ..
        } = &mut self
        {
            let line = match &**source {
                Self::Exit { line, .. } => line.as_ref().and_then(|line| line.inline),
                _ => None,
            };
            *position = Some(place.position(template, line));
        }
        self
    }

    /// Adds the place of the file that could not be uploaded.
    pub(crate) fn at_file(self, files: &[Upload], template: &TemplateSource) -> Self {
        match self {
            Self::Ssh(error) => {
                let SshError::Upload {
                    item: Some(item), ..
                } = *error
                else {
                    return Self::Ssh(error);
                };
                Self::File {
                    position: Some(files[item].place.position(template, None)),
                    error,
                }
            }
            error => error,
        }
    }

    /// Adds advice to that of the failed step.
    pub(crate) fn advise(&mut self, advice: &str) {
        if let Self::Step { help, .. } = self {
            *help = Some(match help.take() {
                Some(help) => format!("{help}; {advice}"),
                None => advice.to_owned(),
            });
        }
    }
}

fn at_line(line: Option<&FailedLine>) -> String {
    line.map_or_else(String::new, |line| {
        format!(" at line {}: {}", line.number, line.text)
    })
}

fn times(tries: u32) -> String {
    if tries > 1 {
        format!(" {tries} times; the last time")
    } else {
        String::new()
    }
}

fn exit_status(code: Option<u32>) -> String {
    match code {
        // Shells report a child that a signal killed as 128 plus the signal's number.
        Some(code @ 129..=159) => format!("exit code {code} (signal {})", code - 128),
        Some(code) => format!("exit code {code}"),
        None => "no exit code".to_owned(),
    }
}
