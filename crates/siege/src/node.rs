//! A node: its process, its disk, and whoever starts it again.
//!
//! A process that ends by itself is a violation, unless its disk was made to fail or to be full, or it was told to stop.

use std::fs::OpenOptions;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use checkers::chance::lock;
use rustix::process::{Pid, Signal, kill_process};

use crate::disk::{Cut, Disk};
use crate::topology::{NodeId, Topology};

/// Bytes of a node's log that are looked at for its last words.
const LAST_WORDS_BYTES: usize = 2000;

/// What a node says, and ends with 1, when it is asked to stop before it has anything to leave in order.
const TOO_EARLY: &str = "SIGTERM came before this node was in a cluster";

/// How long a process may take to end once its disk has failed or was full.
const NOTICE_MAX: Duration = Duration::from_secs(10);

/// How long a process may take to end once it was told to.
const STOP_MAX: Duration = Duration::from_secs(30);

/// Why a process may end by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Excuse {
    /// Its disk fails a write or a flush: the power of its machine is cut before it starts again.
    DiskError {
        /// A flush, after which it must end (D5).
        is_flush: bool,
    },
    /// Its disk is full.
    DiskFull,
    /// It was asked to stop.
    Asked,
}

/// A node.
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its disk.
    pub disk: Disk,
    log: PathBuf,
    words: Vec<String>,
    state: Mutex<State>,
}

struct State {
    child: Option<Child>,
    /// It is to run: somebody starts it when it does not.
    is_wanted: bool,
    is_paused: bool,
    excuse: Option<Excuse>,
    /// Its disk has space again; a process that met a full one may still be about to end, until then.
    pardoned_until: Option<Instant>,
    /// Not started again before.
    not_before: Instant,
}

/// What the watch saw.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nothing new.
    Nothing,
    /// It ended, as it may.
    Excused,
    /// It ended by itself, with these last words.
    Violation(String),
}

impl Node {
    /// A node that does not run yet.
    pub fn new(id: NodeId, disk: Disk, folder: &Path, topology: &Topology, nodes: usize, bin: &Path) -> Node {
        let name = format!("n{}", id + 1);
        let join: Vec<String> = (0..nodes).map(|node| topology.public(node).to_string()).collect();
        let mut words = topology.wrapper(id);
        words.push(bin.display().to_string());
        for (flag, value) in [
            ("-node-id", name.clone()),
            ("-http-addr", topology.http(id).to_string()),
            ("-raft-addr", topology.listen(id).to_string()),
            ("-raft-adv-addr", topology.public(id).to_string()),
            ("-bootstrap-expect", nodes.to_string()),
            ("-join", join.join(",")),
            // Small, so that a round has several snapshots, and a node that was cut off may need the database.
            ("-raft-snap", "300".to_owned()),
            ("-disk-watermark", "33554432".to_owned()),
            ("-raft-log-level", "INFO".to_owned()),
        ] {
            words.extend([flag.to_owned(), value]);
        }
        words.push(disk.root().join("data").display().to_string());
        Node {
            log: folder.join(format!("{name}.log")),
            name,
            disk,
            words,
            state: Mutex::new(State {
                child: None,
                is_wanted: false,
                is_paused: false,
                excuse: None,
                pardoned_until: None,
                not_before: Instant::now(),
            }),
        }
    }

    /// It is to run from now on, or from after `pause` on.
    pub fn want(&self, pause: Duration) {
        let mut state = lock(&self.state);
        state.is_wanted = true;
        state.not_before = Instant::now() + pause;
    }

    /// Its process runs, and is not paused.
    pub fn is_running(&self) -> bool {
        let state = lock(&self.state);
        state.child.is_some() && !state.is_paused
    }

    /// Starts it when it is to run and does not; sees when it has ended.
    ///
    /// # Errors
    ///
    /// When it cannot be started, or its disk cannot be cut.
    pub fn watch(&self) -> Result<Seen> {
        let mut state = lock(&self.state);
        if state.pardoned_until.is_some_and(|until| until < Instant::now()) {
            state.pardoned_until = None;
            state.excuse = state.excuse.filter(|excuse| *excuse != Excuse::DiskFull);
        }
        let ended = match &mut state.child {
            None => {
                if state.is_wanted && state.not_before <= Instant::now() {
                    state.child = Some(self.spawn()?);
                }
                return Ok(Seen::Nothing);
            }
            Some(child) => child.try_wait().context("look at a node")?,
        };
        let Some(status) = ended else { return Ok(Seen::Nothing) };
        if !state.is_wanted {
            // Whoever struck it buries it.
            return Ok(Seen::Nothing);
        }
        state.child = None;
        state.is_paused = false;
        state.not_before = Instant::now() + Duration::from_millis(300);
        let told = || format!("{} ended by itself, {status}: {}", self.name, self.last_words());
        Ok(match state.excuse {
            Some(Excuse::Asked) if self.is_stop(status) => {
                state.excuse = None;
                Seen::Excused
            }
            Some(Excuse::DiskError { .. }) if is_decent(status) => {
                state.excuse = None;
                self.disk.calm()?;
                self.disk.cut(Cut::Mix, self.log_bytes())?;
                Seen::Excused
            }
            Some(Excuse::DiskFull) if is_decent(status) => Seen::Excused,
            Some(_) | None => Seen::Violation(told()),
        })
    }

    fn spawn(&self) -> Result<Child> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let (program, rest) = self.words.split_first().context("words to start a node")?;
        // Not before its wrapper, which has files of its own.
        let variables = self
            .disk
            .environment()
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"));
        let place = rest.iter().position(|word| word.ends_with("quorlited")).unwrap_or(0);
        let (wrapper, server) = rest.split_at(place);
        Command::new(program)
            .args(wrapper)
            .arg("env")
            .args(variables)
            .args(server)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C is for the siege.
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {}", self.name))
    }

    /// kill -9: what was written stays. It is not started again before [`Node::want`]. False if it did not run.
    ///
    /// # Errors
    ///
    /// When it cannot be waited for.
    pub fn kill(&self) -> Result<bool> {
        let is_hit = self.strike()?;
        self.bury()?;
        Ok(is_hit)
    }

    /// The first half of [`Node::kill`]: sends the signal.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn strike(&self) -> Result<bool> {
        let mut state = lock(&self.state);
        state.is_wanted = false;
        match &mut state.child {
            Some(child) => child.kill().map(|()| true).context("kill a node"),
            None => Ok(false),
        }
    }

    /// The second half: waits until the kernel has let go of it.
    ///
    /// # Errors
    ///
    /// When it cannot be waited for.
    pub fn bury(&self) -> Result<()> {
        let mut state = lock(&self.state);
        if let Some(mut child) = state.child.take() {
            child.wait().context("wait for a node")?;
        }
        state.is_paused = false;
        match state.excuse {
            Some(Excuse::DiskError { .. }) => {
                state.excuse = None;
                if self.disk.calm()? > 0 {
                    self.disk.cut(Cut::Mix, self.log_bytes())?;
                }
            }
            Some(Excuse::Asked) => state.excuse = None,
            Some(Excuse::DiskFull) | None => {}
        }
        Ok(())
    }

    /// Everything that it had is gone; it is dead until [`Node::want`].
    ///
    /// # Errors
    ///
    /// When its disk cannot be wiped.
    pub fn wipe(&self) -> Result<()> {
        self.kill()?;
        lock(&self.state).excuse = None;
        self.disk.wipe()
    }

    /// Its machine loses power: it is dead, and what was not flushed is gone. Returns the bytes that are lost.
    ///
    /// # Errors
    ///
    /// When the disk cannot be cut.
    pub fn lose_power(&self, cut: Cut, seed: u64) -> Result<u64> {
        self.kill()?;
        self.disk.calm()?;
        lock(&self.state).excuse = None;
        self.disk.cut(cut, seed)
    }

    /// It stands still, until [`Node::resume`]. False if it did not run.
    pub fn pause(&self) -> bool {
        let mut state = lock(&self.state);
        let is_hit = !state.is_paused && send(&state, Signal::STOP);
        state.is_paused |= is_hit;
        is_hit
    }

    /// It goes on.
    pub fn resume(&self) {
        let mut state = lock(&self.state);
        if state.is_paused {
            send(&state, Signal::CONT);
            state.is_paused = false;
        }
    }

    /// It is asked to stop, and started again afterwards. False if it did not run.
    pub fn ask_to_stop(&self) -> bool {
        let mut state = lock(&self.state);
        let is_hit = !state.is_paused && state.excuse.is_none() && send(&state, Signal::TERM);
        if is_hit {
            state.excuse = Some(Excuse::Asked);
        }
        is_hit
    }

    /// Its disk will fail: it may end, and then its machine loses power. False if something else may end it already.
    pub fn excuse_disk_error(&self, is_flush: bool) -> bool {
        self.excuse(Excuse::DiskError { is_flush })
    }

    /// Its disk is full: it may end. False if something else may end it already.
    pub fn excuse_full_disk(&self) -> bool {
        self.excuse(Excuse::DiskFull)
    }

    fn excuse(&self, excuse: Excuse) -> bool {
        let mut state = lock(&self.state);
        let is_free = state.excuse.is_none() && state.child.is_some();
        if is_free {
            state.excuse = Some(excuse);
        }
        is_free
    }

    /// Its disk has space again.
    ///
    /// # Errors
    ///
    /// When the disk cannot be emptied.
    pub fn has_space(&self) -> Result<()> {
        self.disk.empty()?;
        let mut state = lock(&self.state);
        if state.excuse == Some(Excuse::DiskFull) {
            state.pardoned_until = Some(Instant::now() + NOTICE_MAX);
        }
        Ok(())
    }

    /// Nothing may go wrong any more: its disk is sound, it goes on, it is to run. A process whose disk has failed
    /// starts anew, after its machine has lost power.
    ///
    /// # Errors
    ///
    /// When its disk cannot be mended.
    pub fn heal(&self, seed: u64) -> Result<()> {
        self.resume();
        self.has_space()?;
        self.disk.shift_clock(0)?;
        let has_failed = self.disk.calm()? > 0;
        if let Some(Excuse::DiskError { is_flush }) = self.excused() {
            if has_failed {
                let ends = !is_flush || self.ends();
                self.lose_power(Cut::Drop, seed)?;
                anyhow::ensure!(ends, "goes on after a failed flush");
            } else {
                lock(&self.state).excuse = None;
            }
        }
        lock(&self.state).is_wanted = true;
        Ok(())
    }

    fn excused(&self) -> Option<Excuse> {
        lock(&self.state).excuse
    }

    /// It ends by itself soon: the watch then takes its excuse away.
    fn ends(&self) -> bool {
        let deadline = Instant::now() + NOTICE_MAX;
        while self.excused().is_some() {
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        true
    }

    /// Told to stop when the siege is over; waits for it.
    ///
    /// # Errors
    ///
    /// When it does not end in time, or not with 0.
    pub fn finish(&self) -> Result<()> {
        let mut state = lock(&self.state);
        state.is_wanted = false;
        send(&state, Signal::TERM);
        let deadline = Instant::now() + STOP_MAX;
        while let Some(child) = &mut state.child {
            if let Some(status) = child.try_wait()? {
                state.child = None;
                anyhow::ensure!(
                    status.success(),
                    "{} ended with {status} on SIGTERM: {}",
                    self.name,
                    self.last_words()
                );
            } else if Instant::now() > deadline {
                anyhow::bail!("{} does not end on SIGTERM", self.name);
            } else {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        Ok(())
    }

    /// What a process may end with that was asked to stop.
    fn is_stop(&self, status: ExitStatus) -> bool {
        // The signal itself ends what has not become the server yet: its wrapper.
        let is_wrapper = status.signal() == Some(Signal::TERM.as_raw());
        status.success() || is_wrapper || self.last_words().contains(TOO_EARLY)
    }

    /// A number that is another each time.
    fn log_bytes(&self) -> u64 {
        std::fs::metadata(&self.log).map_or(0, |file| file.len())
    }

    /// The last lines of its log.
    pub fn last_words(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(LAST_WORDS_BYTES)..]).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(3)..].join(" | ")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Without namespaces nobody else ends it.
        _ = self.kill();
    }
}

fn send(state: &State, signal: Signal) -> bool {
    let pid = state
        .child
        .as_ref()
        .and_then(|child| i32::try_from(child.id()).ok())
        .and_then(Pid::from_raw);
    pid.is_some_and(|pid| kill_process(pid, signal).is_ok())
}

/// It ended by its own hand, not by a signal or a panic.
fn is_decent(status: ExitStatus) -> bool {
    status.code() == Some(1)
}
