//! The flags that change results: the cluster's, fixed by its first command, and checked wherever a node meets them.
//!
//! Invariant: no entry is applied, and no database used, under other flags than those it was fixed with (D3).

use std::path::PathBuf;

use command::entry::Settings;

use crate::config::Config;
use crate::error::Error;

/// What this node's flags say, and where its data are.
#[derive(Clone, Debug)]
pub(crate) struct Flags {
    dir: PathBuf,
    own: Settings,
}

impl Flags {
    pub(crate) fn new(config: &Config) -> Self {
        let names = config.extensions.iter().map(|path| {
            let name = path.file_name().unwrap_or(path.as_os_str());
            name.to_string_lossy().into_owned()
        });
        let mut extensions: Vec<String> = names.collect();
        extensions.sort();
        Self {
            dir: config.dir.clone(),
            own: Settings {
                foreign_keys: config.foreign_keys,
                extensions,
                sqlite: sqlite::version().to_owned(),
            },
        }
    }

    /// What this node proposes when its cluster has none yet.
    pub(crate) fn own(&self) -> &Settings {
        &self.own
    }

    /// Whether a node with `joiner`'s flags may join the cluster that this node is in.
    ///
    /// # Errors
    ///
    /// [`Error::Membership`] with both and the way out.
    pub(crate) fn check_joiner(&self, joiner: &Settings) -> Result<(), Error> {
        let refuse = |flag: &str, ours: String, theirs: String| {
            Err(Error::Membership(format!(
                "the cluster runs with {flag}={ours}, the joining node with {flag}={theirs}: start it with the cluster's"
            )))
        };
        if joiner.foreign_keys != self.own.foreign_keys {
            return refuse(
                "-fk",
                self.own.foreign_keys.to_string(),
                joiner.foreign_keys.to_string(),
            );
        }
        if joiner.extensions != self.own.extensions {
            let list = |settings: &Settings| format!("{:?}", settings.extensions);
            return refuse("-extensions-path", list(&self.own), list(joiner));
        }
        Ok(())
    }

    /// Compares with what the cluster has fixed: a node with other flags would compute other results.
    ///
    /// # Errors
    ///
    /// [`Error::Foreign`] with the way out.
    pub(crate) fn check(&self, fixed: &Settings) -> Result<(), Error> {
        let refuse = |what: String| {
            Err(Error::Foreign {
                path: self.dir.clone(),
                what,
            })
        };
        if fixed.foreign_keys != self.own.foreign_keys {
            return refuse(format!(
                "belongs to a cluster that was formed with -fk={}, this node was started with -fk={}: start it with the \
                 cluster's setting",
                fixed.foreign_keys, self.own.foreign_keys
            ));
        }
        if fixed.extensions != self.own.extensions {
            return refuse(format!(
                "belongs to a cluster that was formed with the extensions {:?}, this node was started with {:?}: start \
                 it with the cluster's",
                fixed.extensions, self.own.extensions
            ));
        }
        Ok(())
    }
}
