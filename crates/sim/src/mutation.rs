//! Guards that can be taken away, to show that the checkers see it.

/// A guard that is missing in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// Flushes of the log's files do nothing and say that they did.
    NoLogFlush,
    /// Flushes of SQLite's WAL do nothing and say that they did, so a purge goes ahead of what is durable.
    NoSqliteSync,
}

/// Each by the name that the command line knows.
pub const NAMES: &[(&str, Mutation)] = &[
    ("no-log-flush", Mutation::NoLogFlush),
    ("no-sqlite-sync", Mutation::NoSqliteSync),
];

impl Mutation {
    /// The mutation called `name`.
    pub fn named(name: &str) -> Option<Mutation> {
        NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, mutation)| *mutation)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        NAMES
            .iter()
            .find(|(_, mutation)| *mutation == self)
            .map_or("", |(name, _)| name)
    }
}
