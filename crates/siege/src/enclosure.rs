//! The siege's own namespaces: network, mounts and processes.
//!
//! The siege starts itself again inside of them, by unshare(1), and holds the other end of that one's standard input.
//! When either ends, however it ends, the kernel kills what is inside and takes the namespaces away, with all links,
//! routes, mounts and processes. So there is nothing to clean up but files.

use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result};

use crate::shell;

/// Tells the siege inside where it is.
const VARIABLE: &str = "QUORLITE_SIEGE";

const WORDS: &[&str] = &["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];

/// Where the named network namespaces of ip(8) are mounted; ours are seen by nobody else.
pub const NAMED: &str = "/run/netns";

/// How much of a world of its own this process has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enclosure {
    /// Root's: namespaces and loop devices.
    Root,
    /// A user's own: namespaces, and file systems in memory.
    User,
    /// None: the machine does not allow it.
    Open,
}

impl Enclosure {
    /// Where this process is; `None` when it has not been started inside yet.
    pub fn current() -> Option<Enclosure> {
        match std::env::var(VARIABLE).ok()?.as_str() {
            "root" => Some(Enclosure::Root),
            "user" => Some(Enclosure::User),
            _ => Some(Enclosure::Open),
        }
    }

    /// The machine lets us have links and routes.
    pub fn has_network(self) -> bool {
        self != Enclosure::Open
    }
}

/// Starts this program again, inside, and waits for it.
///
/// # Errors
///
/// When it cannot be started.
pub fn enter() -> Result<ExitCode> {
    let program = std::env::current_exe().context("find this program")?;
    let (enclosure, words) = choose();
    let mut command = match words.split_first() {
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(&program);
            command
        }
        None => Command::new(&program),
    };
    command.args(std::env::args_os().skip(1)).env(VARIABLE, enclosure);
    // It ends when this pipe does.
    let mut child = command
        .stdin(Stdio::piped())
        .spawn()
        .context("start the siege inside")?;
    let pipe = child.stdin.take();
    let status = child.wait().context("wait for the siege inside")?;
    drop(pipe);
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(2)))
}

/// The most that the machine allows.
fn choose() -> (&'static str, Vec<&'static str>) {
    let as_root = [&["unshare"], WORDS].concat();
    let as_user = [&["unshare", "--user", "--map-root-user"], WORDS].concat();
    let works = |words: &[&'static str]| {
        let probe = "mount -t tmpfs siege /mnt && ip link set lo up && ip rule add prio 9 from 10.9.9.9 blackhole";
        shell::succeeds(&[words, &["sh", "-c", probe]].concat())
    };
    if rustix::process::geteuid().is_root() && works(&as_root) {
        ("root", as_root)
    } else if works(&as_user) {
        ("user", as_user)
    } else {
        ("open", Vec::new())
    }
}

/// Prepares the inside: a place for named namespaces.
///
/// # Errors
///
/// When the machine does not allow what it has allowed before.
pub fn furnish() -> Result<()> {
    if !std::path::Path::new(NAMED).is_dir() {
        // A user may not make folders in /run; a file system of its own may cover it.
        if std::fs::create_dir_all(NAMED).is_err() {
            shell::run(&["mount", "-t", "tmpfs", "siege", "/run"])?;
            std::fs::create_dir_all(NAMED).context("make a folder for namespaces")?;
        }
    }
    shell::run(&["mount", "-t", "tmpfs", "siege", NAMED])?;
    shell::run(&["ip", "link", "set", "lo", "up"])?;
    Ok(())
}
