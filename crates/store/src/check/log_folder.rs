//! The part of the check that reads the folder `log`.

use std::path::Path;

use log::check::{CheckedSegment, Shown};
use log::{FsDisk, Record};
use sqlite::meta::Position;

use super::{Finding, Listener, Log, Part, Verdict, codec, damaged, remark, sound};
use crate::error::Error;
use crate::member::NodeId;

/// The folder's name in a data directory.
const FOLDER: &str = "log";

const REPLACE_FILE: &str = "check the disk, then restore this file from a copy of it, or remove this node from the cluster \
                            and let it join again with an empty data directory";
const OWN_LOG: &str = "put back this node's own log, or remove this node from the cluster and let it join again with an \
                       empty data directory";

/// Entries whose bytes cannot be read and that are told one by one.
const UNREADABLE_MAX: usize = 10;

/// Checks the log below `dir`, of the node `id` if that is known.
pub(super) fn check(dir: &Path, id: Option<NodeId>, listener: &dyn Listener) -> Result<Log, Error> {
    let folder = dir.join(FOLDER);
    if !folder.is_dir() {
        listener.found(remark(Part::Log, "there is no log yet").of(&folder));
        return Ok(Log {
            purged: None,
            last: None,
            voted: Some(0),
            terms: Vec::new(),
            is_sound: true,
        });
    }
    let disk = FsDisk::read_only(&folder);
    let mut findings = Vec::new();
    let checked = log::check::check(&disk, &mut |shown| match shown {
        Shown::Segment(read) => {
            listener.found(segment(read));
            findings.extend(id.filter(|id| id.0 != read.salt).map(|id| stranger(read, id)));
        }
        Shown::Record(file, offset, record) => {
            listener.goes_on("the log's entries are read");
            if findings.len() < UNREADABLE_MAX {
                findings.extend(unreadable(file, offset, record));
            }
        }
    })?;
    findings.extend(checked.damage.iter().map(of_log));
    findings.extend(backwards(&checked.terms));
    let voted = vote(&checked, &mut findings);
    for torn in &checked.torn {
        let text = format!(
            "torn tail of {} records, none of which was acknowledged: the next start cuts it",
            torn.frames
        );
        listener.found(remark(Part::Log, text).at(Path::new(&torn.file), torn.offset));
    }
    for name in &checked.spares {
        listener.found(sound(Part::Log, "kept to be written again").of(&folder.join(name)));
    }
    let at = |position: Option<log::Position>| position.map_or("nothing".to_owned(), |at| at.to_string());
    let text = format!(
        "{} segments, purged through {}, last {}, committed {}, vote of term {}",
        checked.segments.len(),
        at(checked.purged),
        at(checked.last),
        at(checked.committed),
        voted.map_or("unknown".to_owned(), |term| term.to_string())
    );
    let is_sound = findings.is_empty();
    if is_sound {
        listener.found(sound(Part::Log, text).of(&folder));
    }
    findings.into_iter().for_each(|finding| listener.found(finding));
    Ok(Log {
        purged: checked.purged,
        last: checked.last,
        voted,
        terms: checked.terms,
        is_sound,
    })
}

fn segment(read: &CheckedSegment) -> Finding {
    let records = match read.records {
        Some((first, last)) => format!("records {first} to {last}"),
        None => "no records".to_owned(),
    };
    sound(Part::Log, format!("{} bytes, {records}", read.bytes)).of(Path::new(&read.file))
}

fn stranger(read: &CheckedSegment, id: NodeId) -> Finding {
    let text = format!("it was written by node {}, and this is {id}", NodeId(read.salt));
    damaged(Part::Log, text, OWN_LOG).at(Path::new(&read.file), 0)
}

fn unreadable(file: &str, offset: u64, record: &Record) -> Option<Finding> {
    let at = Position {
        term: record.position.term,
        index: record.position.index,
    };
    let error = codec::entry(at, record.bytes.clone()).err()?;
    Some(damaged(Part::Log, error.to_string(), REPLACE_FILE).at(Path::new(file), offset))
}

fn of_log(error: &log::Error) -> Finding {
    match error {
        log::Error::Damaged { file, offset, found } => {
            damaged(Part::Log, found.clone(), REPLACE_FILE).at(Path::new(file), *offset)
        }
        log::Error::Unknown { file, what, remedy, .. } => {
            damaged(Part::Log, format!("it has {what}"), remedy).of(Path::new(file))
        }
        log::Error::Io { .. }
        | log::Error::Closed
        | log::Error::Failed { .. }
        | log::Error::OutOfOrder { .. }
        | log::Error::TooLarge { .. } => Finding::new(Part::Log, Verdict::Damaged, error.to_string()),
    }
}

/// Terms never fall from one record to the next.
fn backwards(terms: &[log::Position]) -> Option<Finding> {
    let pair = terms.windows(2).find(|pair| pair[1].term < pair[0].term)?;
    let text = format!("record {} follows one of the later term {}", pair[1], pair[0].term);
    Some(damaged(Part::Log, text, OWN_LOG))
}

/// The term of the vote. The vote of a term is flushed before the first record of that term is written.
fn vote(checked: &log::check::Checked, findings: &mut Vec<Finding>) -> Option<u64> {
    let voted = match checked.vote.as_deref().map(codec::vote).transpose() {
        Ok(vote) => vote.map_or(0, |vote| vote.leader_id.term),
        Err(error) => {
            findings.push(damaged(Part::Log, error.to_string(), OWN_LOG));
            return None;
        }
    };
    if let Some(last) = checked.last.filter(|last| last.term > voted) {
        let text = format!("its last record, {last}, is of a later term than its vote, {voted}");
        findings.push(damaged(Part::Log, text, OWN_LOG));
    }
    Some(voted)
}
