//! What exists during a siege: the network, the nodes, and who starts nodes again.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Result;
use checkers::chance::{Chance, lock};
use checkers::counts::Counts;

use crate::arguments::{Arguments, Weakness};
use crate::disk::{self, Disk};
use crate::enclosure::Enclosure;
use crate::node::{Node, Seen};
use crate::proxy::Proxy;
use crate::topology::{NodeId, Topology};

/// How often nodes are looked at.
const WATCH: Duration = Duration::from_millis(15);

/// A siege.
pub struct Siege {
    /// The network.
    pub topology: Arc<Topology>,
    /// What is between the nodes.
    pub proxy: Arc<Proxy>,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// How often things happened.
    pub counts: Counts,
    /// What clients ask for less of.
    pub weakness: Option<Weakness>,
    begin: Instant,
    moment: AtomicU64,
    is_over: AtomicBool,
    failures: Mutex<Vec<String>>,
    /// What happened, for a human.
    story: Mutex<File>,
}

impl Siege {
    /// Builds everything; no node runs yet. Files are in `folder`.
    ///
    /// # Errors
    ///
    /// When the machine does not allow it.
    pub fn new(arguments: &Arguments, enclosure: Enclosure, folder: &Path, seed: u64) -> Result<Arc<Siege>> {
        let nodes = arguments.nodes;
        let mut chance = Chance::new(seed, "topology");
        let topology = Arc::new(Topology::new(nodes, enclosure, &mut chance)?);
        let proxy = Proxy::start(&topology, nodes, seed)?;
        let library = disk::build(folder)?;
        let bin = arguments.bin.canonicalize()?;
        let node = |id: NodeId| {
            let disk = Disk::new(
                folder,
                &format!("n{}", id + 1),
                &library,
                arguments.lie.clone(),
                enclosure,
            )?;
            Ok(Node::new(id, disk, folder, &topology, nodes, &bin))
        };
        Ok(Arc::new(Siege {
            nodes: (0..nodes).map(node).collect::<Result<_>>()?,
            topology,
            proxy,
            counts: Counts::default(),
            weakness: arguments.weakness,
            begin: Instant::now(),
            moment: AtomicU64::new(1),
            is_over: AtomicBool::new(false),
            failures: Mutex::default(),
            story: Mutex::new(File::create(folder.join("story.txt"))?),
        }))
    }

    /// Starts who looks at the nodes, and who hears when the siege is to end early.
    ///
    /// # Errors
    ///
    /// When there are no threads.
    pub fn guard(self: &Arc<Siege>) -> Result<()> {
        let siege = self.clone();
        std::thread::Builder::new()
            .name("watch".to_owned())
            .spawn(move || siege.watch())?;
        let siege = self.clone();
        std::thread::Builder::new().name("leash".to_owned()).spawn(move || {
            // Ends when whoever started us has.
            _ = std::io::stdin().read(&mut [0]);
            siege.fail("interrupted".to_owned());
        })?;
        Ok(())
    }

    fn watch(&self) {
        while !self.is_over() {
            for node in &self.nodes {
                match node.watch() {
                    Ok(Seen::Nothing) => {}
                    Ok(Seen::Excused) => {
                        self.counts.add("stops as they should be");
                        self.tell(&node.name, "stopped as it should");
                    }
                    Ok(Seen::Violation(what)) => self.fail(what),
                    Err(error) => self.fail(format!("{}: {error:#}", node.name)),
                }
            }
            std::thread::sleep(WATCH);
        }
    }

    /// The next moment of the order in which clients act.
    pub fn tick(&self) -> u64 {
        self.moment.fetch_add(1, Ordering::SeqCst)
    }

    /// Something must not have happened.
    pub fn fail(&self, what: String) {
        self.tell("!!!", &what);
        lock(&self.failures).push(what);
    }

    /// Something has failed: there is no use in going on.
    pub fn has_failed(&self) -> bool {
        !lock(&self.failures).is_empty()
    }

    /// What has failed.
    pub fn failures(&self) -> Vec<String> {
        lock(&self.failures).clone()
    }

    /// Nobody starts nodes again.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Notes what a human will want to read.
    pub fn tell(&self, who: &str, what: &str) {
        let at = self.begin.elapsed().as_secs_f64();
        // A story that cannot be written is no reason to end.
        _ = writeln!(lock(&self.story), "{at:9.3} {who:4} {what}");
    }
}
