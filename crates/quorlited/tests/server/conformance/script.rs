//! The golden scripts of `tests/conformance/`: one row for a rule of the HTTP specification.
//!
//! ```text
//! # What this file covers.                  a comment, anywhere
//! flags -http-allow-origin http://a.b       flags of every node, before the first row
//!
//! ## 5.2 an INSERT tells its rowid          section of the specification, then the rule
//! @one                                      only on a lone node; @follower: only on a follower of three;
//!                                           @leaderless: only on the last running node of three, whether it
//!                                           led before or followed
//! @applied                                  first wait until the node has applied what the leader has
//! > POST /db/execute?pretty                 a request; lines with `> ` that follow are its headers
//! ["INSERT INTO t VALUES(1)"]               its body
//! < 200                                     the answer; lines with `< ` that follow are headers that it must
//! < Content-Type: application/json          have, `< !Allow` one that it must not have
//! {"results":[{"last_insert_id":<int>}]}    its whole body; no line means an empty one
//! ```
//!
//! A row may ask several times. Rows of one file run in order against one fresh database. A row whose section is
//! `-` only prepares.
//!
//! A body is its lines with `\n` between them and none behind; what `<word>` stands for is in [`super::pattern`].

use anyhow::{Context as _, Result, bail, ensure};

#[cfg(test)]
mod tests;

/// A file of rows.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// Flags that every node of this file is started with.
    pub flags: Vec<String>,
    /// The rows, in order.
    pub rows: Vec<Row>,
}

/// One rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// Where it begins in its file, from 1.
    pub line: usize,
    /// The section of the specification; `-` when the row only prepares.
    pub section: String,
    /// The rule in words.
    pub title: String,
    /// Where it holds; wherever there is a leader when `None`.
    pub only: Option<Setting>,
    /// Wait first until the asked node has applied what the leader has.
    pub applied: bool,
    /// What is asked and answered, in order.
    pub exchanges: Vec<Exchange>,
}

/// The node that is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// A lone node.
    One,
    /// A follower in a cluster of three.
    Follower,
    /// A follower whose leader and only peer are gone.
    Leaderless,
    /// A leader whose followers are gone: it answers as the follower that lost its leader does.
    Deposed,
}

/// A request and the answer that the specification gives.
#[derive(Debug, PartialEq, Eq)]
pub struct Exchange {
    /// As on the request line.
    pub method: String,
    /// Path and query, raw.
    pub target: String,
    /// Name and value of each header.
    pub headers: Vec<(String, String)>,
    /// The body before its words are replaced.
    pub body: String,
    /// What must come back.
    pub answer: Answer,
}

/// What the specification says of an answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Header and pattern of its value; `None` when it must be absent.
    pub headers: Vec<(String, Option<String>)>,
    /// Pattern of the whole body.
    pub body: String,
}

impl Row {
    /// Whether this row is asked in `setting`.
    pub fn holds_in(&self, setting: Setting) -> bool {
        match setting {
            Setting::One | Setting::Follower => self.only.is_none_or(|only| only == setting),
            Setting::Leaderless | Setting::Deposed => self.only == Some(Setting::Leaderless),
        }
    }
}

impl Script {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// A line that is out of place; the text names it.
    pub fn parse(text: &str) -> Result<Self> {
        let mut script = Self::default();
        let lines: Vec<(usize, &str)> = text
            .lines()
            .enumerate()
            .map(|(at, line)| (at + 1, line))
            .filter(|(_, line)| !is_comment(line))
            .collect();
        let first = lines
            .iter()
            .position(|(_, line)| line.starts_with("## "))
            .unwrap_or(lines.len());
        let (head, rows) = lines.split_at(first);
        for (at, line) in head {
            script.head(line).with_context(|| format!("line {at}"))?;
        }
        for row in rows.chunk_by(|_, (_, next)| !next.starts_with("## ")) {
            script.rows.push(Row::parse(row)?);
        }
        ensure!(!script.rows.is_empty(), "no row");
        Ok(script)
    }

    fn head(&mut self, line: &str) -> Result<()> {
        if line.is_empty() {
            return Ok(());
        }
        let Some(flags) = line.strip_prefix("flags ") else {
            bail!("neither a comment, flags nor a row: {line}")
        };
        self.flags = flags.split_whitespace().map(str::to_owned).collect();
        Ok(())
    }
}

impl Row {
    fn parse(lines: &[(usize, &str)]) -> Result<Self> {
        let (line, head) = lines[0];
        Self::read(line, head, &lines[1..]).with_context(|| format!("row at line {line}"))
    }

    fn read(line: usize, head: &str, lines: &[(usize, &str)]) -> Result<Self> {
        let (section, title) = head[3..].split_once(' ').context("a row needs a section and a title")?;
        let mut row = Self {
            line,
            section: section.to_owned(),
            title: title.trim().to_owned(),
            only: None,
            applied: false,
            exchanges: Vec::new(),
        };
        let mut rest = lines;
        while let Some(((_, text), after)) = rest.split_first() {
            if text.starts_with("> ") {
                break;
            }
            row.mark(text)?;
            rest = after;
        }
        for exchange in exchanges(rest) {
            row.exchanges.push(Exchange::parse(&exchange)?);
        }
        ensure!(!row.exchanges.is_empty(), "a row asks at least once");
        Ok(row)
    }

    fn mark(&mut self, text: &str) -> Result<()> {
        match text {
            "" => {}
            "@one" => self.only = Some(Setting::One),
            "@follower" => self.only = Some(Setting::Follower),
            "@leaderless" => self.only = Some(Setting::Leaderless),
            "@applied" => self.applied = true,
            other => bail!("neither a mark nor a request: {other}"),
        }
        Ok(())
    }
}

impl Exchange {
    fn parse(lines: &[&str]) -> Result<Self> {
        let answer = lines
            .iter()
            .position(|line| line.starts_with("< "))
            .context("a request without an answer")?;
        let (asked, answered) = lines.split_at(answer);
        let (head, body) = block(asked, "> ");
        let (method, target) = head[0].split_once(' ').context("a request is METHOD PATH")?;
        ensure!(
            target.starts_with('/') || target == "*",
            "a path begins with `/`: {target}"
        );
        let headers = head[1..].iter().map(|line| header(line)).collect::<Result<_>>()?;
        Ok(Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers,
            body,
            answer: Answer::parse(answered)?,
        })
    }
}

impl Answer {
    fn parse(lines: &[&str]) -> Result<Self> {
        let (head, body) = block(lines, "< ");
        let status = head[0].parse().with_context(|| format!("no status: {}", head[0]))?;
        let headers = head[1..].iter().map(|line| wanted(line)).collect::<Result<_>>()?;
        Ok(Self { status, headers, body })
    }
}

/// `# ` and a bare `#`; a body line may start with any other text.
fn is_comment(line: &str) -> bool {
    line == "#" || line.starts_with("# ")
}

/// Cuts the lines of a row where a request begins: at a `> ` that does not follow another.
fn exchanges<'a>(lines: &[(usize, &'a str)]) -> Vec<Vec<&'a str>> {
    let mut found: Vec<Vec<&str>> = Vec::new();
    let mut before = "";
    for (_, line) in lines {
        let begins = line.starts_with("> ") && !before.starts_with("> ");
        match found.last_mut() {
            Some(last) if !begins => last.push(line),
            _ => found.push(vec![line]),
        }
        before = line;
    }
    found
}

/// The marked lines at the front, without their mark, and the body behind them without blank lines at its end.
fn block<'a>(lines: &[&'a str], mark: &str) -> (Vec<&'a str>, String) {
    let marked = lines.iter().take_while(|line| line.starts_with(mark)).count();
    let head = lines[..marked]
        .iter()
        .map(|line| line[mark.len()..].trim_end())
        .collect();
    let body = lines[marked..].join("\n");
    (head, body.trim_end_matches('\n').to_owned())
}

fn header(line: &str) -> Result<(String, String)> {
    let (name, value) = line.split_once(':').with_context(|| format!("no header: {line}"))?;
    Ok((name.to_owned(), value.trim().to_owned()))
}

fn wanted(line: &str) -> Result<(String, Option<String>)> {
    if let Some(name) = line.strip_prefix('!') {
        return Ok((name.to_owned(), None));
    }
    let (name, value) = header(line)?;
    Ok((name, Some(value)))
}
