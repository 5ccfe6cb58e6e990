//! Processes that are started for a measurement and never outlive it.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::probe;
use crate::options::Options;

/// How long a server may take until it is ready.
const READY_WAIT: Duration = Duration::from_secs(30);
const READY_PAUSE: Duration = Duration::from_millis(1);
/// End of a server's log that is shown when it did not start.
const LOG_BYTES: usize = 400;

/// A child process, killed by its id and waited for when dropped.
pub struct Process(Child);

impl Process {
    /// Its id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One of the bare servers.
pub struct Bare {
    /// Its process.
    pub process: Process,
    /// Where it listens.
    pub address: String,
}

impl Bare {
    /// Starts a bare server with its files in `dir`.
    ///
    /// # Errors
    ///
    /// If it does not say where it listens.
    pub fn start(name: &str, dir: Option<&Path>) -> anyhow::Result<Bare> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["serve", name])
            .args(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command
            .spawn()
            .with_context(|| format!("start the bare {name} server"))?;
        let stdout = child.stdout.take();
        let process = Process(child);
        let mut line = String::new();
        BufReader::new(stdout.context("a pipe was asked for")?).read_line(&mut line)?;
        let address = line
            .trim()
            .strip_prefix("listening ")
            .with_context(|| format!("bare {name} server: {line:?}"))?;
        Ok(Bare {
            process,
            address: address.to_owned(),
        })
    }
}

/// One `quorlited`.
pub struct Node {
    process: Process,
    flags: Vec<String>,
    dir: PathBuf,
    program: PathBuf,
    /// Where it serves HTTP.
    pub http: String,
    /// Where it speaks to other nodes.
    pub raft: String,
    /// From its start until it said that it was ready.
    pub start_time: Duration,
}

impl Node {
    /// Starts a node named `name` in `dir`, joining `join`, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// If it ends or is not ready in time; the end of its log is in the message.
    pub fn start(options: &Options, name: &str, dir: &Path, join: Option<&str>) -> anyhow::Result<Node> {
        let program = options.quorlited.clone().context("no server to start")?;
        let (http, raft) = (free_address()?, free_address()?);
        let mut flags = vec!["-node-id".to_owned(), name.to_owned()];
        flags.extend([
            "-http-addr".to_owned(),
            http.clone(),
            "-raft-addr".to_owned(),
            raft.clone(),
        ]);
        flags.extend(join.into_iter().flat_map(|join| ["-join".to_owned(), join.to_owned()]));
        flags.extend(options.server_flags.iter().cloned());
        let dir = dir.join(name);
        let (process, start_time) = launch(&program, &flags, &dir, &http)?;
        Ok(Node {
            process,
            flags,
            dir,
            program,
            http,
            raft,
            start_time,
        })
    }

    /// Kills it as a power cut would, starts it again and answers how long it took to be ready.
    ///
    /// # Errors
    ///
    /// As for [`Node::start`].
    pub fn kill_and_restart(&mut self) -> anyhow::Result<Duration> {
        self.process.0.kill()?;
        self.process.0.wait()?;
        let (process, time) = launch(&self.program, &self.flags, &self.dir, &self.http)?;
        self.process = process;
        Ok(time)
    }

    /// Id of its process.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }
}

fn launch(program: &Path, flags: &[String], dir: &Path, http: &str) -> anyhow::Result<(Process, Duration)> {
    let log_path = dir.with_extension("log");
    let log = File::create(&log_path).with_context(|| format!("create {}", log_path.display()))?;
    let mut command = Command::new(program);
    command
        .args(flags)
        .arg(dir)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    let start = Instant::now();
    let mut process = Process(
        command
            .spawn()
            .with_context(|| format!("start {}", program.display()))?,
    );
    loop {
        if probe::status(http, "/readyz").is_ok_and(|status| status == 200) {
            return Ok((process, start.elapsed()));
        }
        if let Some(status) = process.0.try_wait()? {
            bail!("the server ended with {status}: {}", tail(&log_path));
        }
        if start.elapsed() > READY_WAIT {
            bail!("the server was not ready within {READY_WAIT:?}: {}", tail(&log_path));
        }
        std::thread::sleep(READY_PAUSE);
    }
}

/// An address of the loopback that nobody listens on at the moment.
fn free_address() -> anyhow::Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

fn tail(path: &Path) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let end = &text[text.len().saturating_sub(LOG_BYTES)..];
    String::from_utf8_lossy(end).trim().replace('\n', " / ")
}
