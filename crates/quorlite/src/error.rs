//! What can end a command before it has a result to show.

use std::process::ExitCode;

/// Why a command ended without a result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No sub-command was given; the text is the usage.
    #[error("the interactive shell is still to come\n{0}")]
    NoShell(&'static str),
    /// The command line does not say what to do.
    #[error("{0}")]
    Usage(String),
    /// The tables that a work needs could not be made or filled.
    #[error("prepare the tables at {address}: {failure}")]
    Setup {
        /// The node that was asked.
        address: String,
        /// What it answered.
        failure: crate::bench::Failure,
    },
    /// The acknowledged writes could not be counted.
    #[error("count the acknowledged writes: {0}")]
    Verify(crate::bench::Failure),
}

impl Error {
    /// 2 for a command line that makes no sense, 1 for everything that went wrong later.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Error::Usage(_) => ExitCode::from(2),
            Error::NoShell(_) | Error::Setup { .. } | Error::Verify(_) => ExitCode::FAILURE,
        }
    }
}
