//! Is there one order of all transactions on lists in which each happens whole, between its begin and its end?
//!
//! A transaction appends to lists and reads lists. Each value is appended once, so that a list that was read tells which
//! transactions came before the read, and in which order; the longest one tells the order of all appends to that list.
//! From that follow edges between transactions, and a cycle of edges means that there is no order:
//!
//! ```text
//!  ww  a appended the value before b's                 wr  b read a list that ended with a's value
//!  rw  a read a list that lacked b's value             rt  a was answered before b was sent
//! ```
//!
//! Source: Kingsbury and Alvaro, "Elle: inferring isolation anomalies from experimental observations", 2020.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::history::{Moment, WriteId};

/// One step of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Puts a value at the end of a list.
    Append {
        /// The list.
        list: u64,
        /// The value; no other append has it.
        value: i64,
    },
    /// Reads a list.
    Read {
        /// The list.
        list: u64,
        /// What was there; `None` when no answer came.
        seen: Option<Vec<i64>>,
    },
}

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was acknowledged.
    Done,
    /// It has not happened.
    Refused,
    /// Nobody knows.
    Unknown,
}

/// A transaction of one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Its name.
    pub id: WriteId,
    /// What it did, in order.
    pub steps: Vec<Step>,
    /// When it was first sent.
    pub begin: Moment,
    /// When its client knew what it would ever know.
    pub end: Moment,
    /// What the client was told.
    pub fate: Fate,
}

/// The violations in a history; `is_whole` when its last reads show all lists as they are in the end.
pub fn check(transactions: &[Transaction], is_whole: bool) -> Vec<String> {
    let appends = match Appends::new(transactions) {
        Ok(appends) => appends,
        Err(twice) => return vec![twice],
    };
    let mut found: Vec<String> = Vec::new();
    let mut orders: BTreeMap<u64, &[i64]> = BTreeMap::new();
    for (reader, list, seen) in reads(transactions) {
        found.extend(appends.strange(transactions, reader, list, seen));
        let order = orders.entry(list).or_default();
        if seen.len() > order.len() {
            *order = seen;
        }
    }
    for (reader, list, seen) in reads(transactions) {
        let order = orders.get(&list).copied().unwrap_or_default();
        if !order.starts_with(seen) {
            let name = name(&transactions[reader]);
            found.push(format!(
                "{name} saw list {list} as {seen:?}, which is no beginning of {order:?}"
            ));
        }
    }
    if is_whole {
        found.extend(appends.lost(transactions, &orders));
    }
    for transaction in transactions.iter().filter(|it| it.fate == Fate::Done) {
        found.extend(own(transaction));
    }
    if found.is_empty() {
        found.extend(Graph::new(transactions, &appends, &orders).cycle(transactions));
    }
    found
}

/// The lists that acknowledged transactions read: who, which, what.
fn reads(transactions: &[Transaction]) -> impl Iterator<Item = (usize, u64, &[i64])> {
    let done = transactions.iter().enumerate().filter(|(_, it)| it.fate == Fate::Done);
    done.flat_map(|(place, transaction)| {
        transaction.steps.iter().filter_map(move |step| match step {
            Step::Read { list, seen: Some(seen) } => Some((place, *list, seen.as_slice())),
            Step::Read { .. } | Step::Append { .. } => None,
        })
    })
}

/// A transaction sees its own appends, at the end and in order.
fn own(transaction: &Transaction) -> Option<String> {
    let mut mine: BTreeMap<u64, Vec<i64>> = BTreeMap::new();
    for step in &transaction.steps {
        match step {
            Step::Append { list, value } => mine.entry(*list).or_default().push(*value),
            Step::Read { list, seen: Some(seen) } => {
                let mine = mine.get(list).map_or(&[][..], Vec::as_slice);
                if !seen.ends_with(mine) {
                    return Some(format!(
                        "{} saw list {list} as {seen:?} after it had appended {mine:?} itself",
                        name(transaction)
                    ));
                }
            }
            Step::Read { seen: None, .. } => {}
        }
    }
    None
}

/// Who appended what.
struct Appends {
    /// By list and value: the transaction's place.
    by_value: BTreeMap<(u64, i64), usize>,
}

impl Appends {
    fn new(transactions: &[Transaction]) -> Result<Appends, String> {
        let mut by_value = BTreeMap::new();
        for (place, transaction) in transactions.iter().enumerate() {
            for step in &transaction.steps {
                if let Step::Append { list, value } = step
                    && by_value.insert((*list, *value), place).is_some()
                {
                    return Err(format!(
                        "value {value} was sent to list {list} twice: no history to judge"
                    ));
                }
            }
        }
        Ok(Appends { by_value })
    }

    fn of(&self, list: u64, value: i64) -> Option<usize> {
        self.by_value.get(&(list, value)).copied()
    }

    /// What cannot be in a list: a value twice, one that nobody sent, one that was refused.
    fn strange(&self, transactions: &[Transaction], reader: usize, list: u64, seen: &[i64]) -> Vec<String> {
        let reader = name(&transactions[reader]);
        let mut known = BTreeSet::new();
        let mut found = Vec::new();
        for value in seen {
            if !known.insert(value) {
                found.push(format!("{reader} saw {value} twice in list {list}"));
            }
            match self.of(list, *value).map(|place| &transactions[place]) {
                None => found.push(format!("{reader} saw {value} in list {list}, which nobody appended")),
                Some(writer) if writer.fate == Fate::Refused => {
                    let writer = name(writer);
                    found.push(format!(
                        "{reader} saw {value} in list {list}, although {writer} was refused"
                    ));
                }
                Some(_) => {}
            }
        }
        found
    }

    /// Acknowledged appends that are in no list.
    fn lost(&self, transactions: &[Transaction], orders: &BTreeMap<u64, &[i64]>) -> Vec<String> {
        let is_there = |list: &u64, value: &i64| orders.get(list).is_some_and(|order| order.contains(value));
        let missing = self
            .by_value
            .iter()
            .filter(|((list, value), place)| transactions[**place].fate == Fate::Done && !is_there(list, value));
        let told = |((list, value), place): (&(u64, i64), &usize)| {
            format!("list {list} lost {value} of {}", name(&transactions[*place]))
        };
        missing.map(told).collect()
    }
}

/// Why one transaction comes before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edge {
    /// Appended before.
    Ww(u64),
    /// Its append was read.
    Wr(u64),
    /// It read what lacked the other's append.
    Rw(u64),
    /// It was answered before the other was sent.
    Time,
}

/// Transactions, and after them a node for each answer: time runs along those, so that not each pair needs an edge.
struct Graph {
    edges: Vec<Vec<(usize, Edge)>>,
    transactions: usize,
}

impl Graph {
    fn new(transactions: &[Transaction], appends: &Appends, orders: &BTreeMap<u64, &[i64]>) -> Graph {
        let mut graph = Graph {
            edges: vec![Vec::new(); transactions.len()],
            transactions: transactions.len(),
        };
        graph.order_appends(appends, orders);
        graph.order_reads(transactions, appends, orders);
        graph.order_times(transactions);
        graph
    }

    fn add(&mut self, from: Option<usize>, to: Option<usize>, edge: Edge) {
        if let (Some(from), Some(to)) = (from, to)
            && from != to
        {
            self.edges[from].push((to, edge));
        }
    }

    fn order_appends(&mut self, appends: &Appends, orders: &BTreeMap<u64, &[i64]>) {
        for (list, order) in orders {
            for pair in order.windows(2) {
                if let [one, next] = pair {
                    self.add(appends.of(*list, *one), appends.of(*list, *next), Edge::Ww(*list));
                }
            }
        }
    }

    fn order_reads(&mut self, transactions: &[Transaction], appends: &Appends, orders: &BTreeMap<u64, &[i64]>) {
        for (reader, list, seen) in reads(transactions) {
            // Its own appends say nothing of the others.
            let before = seen
                .iter()
                .take_while(|value| appends.of(list, **value) != Some(reader))
                .count();
            let order = orders.get(&list).copied().unwrap_or_default();
            let at = |place: usize| order.get(place).and_then(|value| appends.of(list, *value));
            if let Some(last) = before.checked_sub(1) {
                self.add(at(last), Some(reader), Edge::Wr(list));
            }
            self.add(Some(reader), at(before), Edge::Rw(list));
        }
    }

    fn order_times(&mut self, transactions: &[Transaction]) {
        let done = transactions.iter().enumerate().filter(|(_, it)| it.fate == Fate::Done);
        let mut answers: Vec<(Moment, usize)> = done.map(|(place, it)| (it.end, place)).collect();
        answers.sort_unstable();
        let first = self.edges.len();
        for (number, (_, place)) in answers.iter().enumerate() {
            self.edges.push(Vec::new());
            self.add(Some(*place), Some(first + number), Edge::Time);
            self.add(
                number.checked_sub(1).map(|before| first + before),
                Some(first + number),
                Edge::Time,
            );
        }
        for (place, transaction) in transactions
            .iter()
            .enumerate()
            .filter(|(_, it)| it.fate != Fate::Refused)
        {
            let before = answers.partition_point(|(end, _)| *end < transaction.begin);
            self.add(before.checked_sub(1).map(|last| first + last), Some(place), Edge::Time);
        }
    }

    /// A cycle, told, if there is one.
    fn cycle(&self, transactions: &[Transaction]) -> Option<String> {
        let rest = self.rest();
        let start = (0..self.transactions).find(|place| rest[*place] && self.way(*place, &rest).is_some())?;
        let way = self.way(start, &rest)?;
        let told = way.into_iter().filter(|(place, _)| *place < self.transactions);
        let told: Vec<String> = told
            .map(|(place, edge)| {
                let it = &transactions[place];
                format!("{edge:?} {} at {}..{} {:?}", name(it), it.begin, it.end, it.steps)
            })
            .collect();
        Some(format!("transactions on lists have no order: {}", told.join("; ")))
    }

    /// What is left when everything is taken away that nothing leads to, or that leads nowhere: all cycles are in it.
    fn rest(&self) -> Vec<bool> {
        let mut incoming = vec![0_usize; self.edges.len()];
        for (to, _) in self.edges.iter().flatten() {
            incoming[*to] += 1;
        }
        let mut free: Vec<usize> = (0..incoming.len()).filter(|node| incoming[*node] == 0).collect();
        let mut rest = vec![true; self.edges.len()];
        while let Some(node) = free.pop() {
            rest[node] = false;
            for (to, _) in &self.edges[node] {
                incoming[*to] -= 1;
                if incoming[*to] == 0 {
                    free.push(*to);
                }
            }
        }
        rest
    }

    /// The shortest way from a node back to itself: the nodes, each with the edge that led there.
    fn way(&self, start: usize, rest: &[bool]) -> Option<Vec<(usize, Edge)>> {
        let mut from: BTreeMap<usize, (usize, Edge)> = BTreeMap::new();
        let mut waiting = VecDeque::from([start]);
        while let Some(node) = waiting.pop_front() {
            for (to, edge) in self.edges[node].iter().filter(|(to, _)| rest[*to]) {
                if from.contains_key(to) {
                    continue;
                }
                from.insert(*to, (node, *edge));
                if *to == start {
                    return Some(unwind(&from, start));
                }
                waiting.push_back(*to);
            }
        }
        None
    }
}

fn unwind(from: &BTreeMap<usize, (usize, Edge)>, start: usize) -> Vec<(usize, Edge)> {
    let mut way = Vec::new();
    let mut at = start;
    while let Some((before, edge)) = from.get(&at) {
        way.push((at, *edge));
        at = *before;
        if at == start {
            break;
        }
    }
    way.reverse();
    way
}

fn name(transaction: &Transaction) -> String {
    let WriteId { client, sequence } = transaction.id;
    if client == 0 {
        format!("the node read last, number {sequence},")
    } else {
        format!("transaction {client}-{sequence}")
    }
}

#[cfg(test)]
mod tests;
