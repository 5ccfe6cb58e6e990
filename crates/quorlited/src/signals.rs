//! SIGTERM and SIGINT ask for a graceful stop; a further one is only logged.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Both signals, from the moment that this is made.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Handles both signals from now on.
    ///
    /// # Errors
    ///
    /// The operating system refused.
    pub fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next signal, and gives its name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Logs whatever comes from now on.
    pub fn only_log(mut self) {
        tokio::spawn(async move {
            loop {
                let name = self.next().await;
                tracing::info!(signal = name, "already stopping");
            }
        });
    }
}
