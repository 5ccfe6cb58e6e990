//! A streaming JSON writer whose texts are those of the specification: Go's escapes, Go's indentation.
//!
//! Owns commas, indentation and escapes. It does not check that calls nest; its callers are few and tested.

#[cfg(test)]
mod tests;

/// Room that a document begins with: most answers fit, and grow no further.
const CAPACITY: usize = 512;

/// Writes one JSON document into a buffer that its owner may drain at any time.
#[derive(Debug, Default)]
pub struct Writer {
    /// What has been written and not been drained.
    pub out: Vec<u8>,
    pretty: bool,
    depth: usize,
    /// The current container has no item yet.
    is_first: bool,
    /// A key was written, and its value comes next on the same line.
    after_key: bool,
}

/// Where a writer stood, to return to.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    length: usize,
    depth: usize,
    is_first: bool,
}

impl Writer {
    /// A writer that indents by four blanks, or writes compactly.
    pub fn new(style: Pretty) -> Self {
        Self {
            out: Vec::with_capacity(CAPACITY),
            pretty: style == Pretty::Yes,
            is_first: true,
            ..Self::default()
        }
    }

    /// `{`
    pub fn begin_object(&mut self) {
        self.begin(b'{');
    }

    /// `}`
    pub fn end_object(&mut self) {
        self.end(b'}');
    }

    /// `[`
    pub fn begin_array(&mut self) {
        self.begin(b'[');
    }

    /// `]`
    pub fn end_array(&mut self) {
        self.end(b']');
    }

    /// An object's next key.
    pub fn key(&mut self, key: &str) {
        self.separate();
        push_string(&mut self.out, key.as_bytes());
        self.colon();
    }

    /// As [`Self::key`], for a key that [`push_string`] has already rendered.
    pub fn rendered_key(&mut self, key: &[u8]) {
        self.separate();
        self.out.extend_from_slice(key);
        self.colon();
    }

    /// A string value; bytes that are no UTF-8 become U+FFFD.
    pub fn string(&mut self, text: impl AsRef<[u8]>) {
        self.separate();
        push_string(&mut self.out, text.as_ref());
    }

    /// An integer value.
    pub fn integer(&mut self, value: impl itoa::Integer) {
        self.separate();
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, value: bool) {
        self.raw(if value { b"true" } else { b"false" });
    }

    /// `null`.
    pub fn null(&mut self) {
        self.raw(b"null");
    }

    /// A value that is already JSON.
    pub fn raw(&mut self, json: &[u8]) {
        self.separate();
        self.out.extend_from_slice(json);
    }

    /// A value that `write` appends as JSON.
    pub fn value(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.separate();
        write(&mut self.out);
    }

    /// A whole tree; keys come in their order in the map, which is that of bytes.
    pub fn tree(&mut self, tree: &serde_json::Value) {
        match tree {
            serde_json::Value::Null => self.null(),
            serde_json::Value::Bool(value) => self.boolean(*value),
            serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
                (Some(value), _, _) => self.integer(value),
                (None, Some(value), _) => self.integer(value),
                (None, None, value) => self.value(|out| super::number::push(out, value.unwrap_or(0.0))),
            },
            serde_json::Value::String(text) => self.string(text),
            serde_json::Value::Array(items) => {
                self.begin_array();
                items.iter().for_each(|item| self.tree(item));
                self.end_array();
            }
            serde_json::Value::Object(members) => {
                self.begin_object();
                for (key, value) in members {
                    self.key(key);
                    self.tree(value);
                }
                self.end_object();
            }
        }
    }

    /// Where the writer stands.
    pub fn mark(&self) -> Mark {
        Mark {
            length: self.out.len(),
            depth: self.depth,
            is_first: self.is_first,
        }
    }

    /// Takes back everything since `mark`, none of which may have been drained.
    pub fn rewind(&mut self, mark: Mark) {
        self.out.truncate(mark.length);
        self.depth = mark.depth;
        self.is_first = mark.is_first;
        self.after_key = false;
    }

    fn begin(&mut self, bracket: u8) {
        self.separate();
        self.out.push(bracket);
        self.depth += 1;
        self.is_first = true;
    }

    fn end(&mut self, bracket: u8) {
        self.depth -= 1;
        if !self.is_first {
            self.break_line();
        }
        self.out.push(bracket);
        self.is_first = false;
    }

    fn colon(&mut self) {
        self.out.extend_from_slice(if self.pretty { b": " } else { b":" });
        self.after_key = true;
    }

    /// What comes before a value or a key.
    fn separate(&mut self) {
        if std::mem::take(&mut self.after_key) {
            return;
        }
        if !std::mem::take(&mut self.is_first) {
            self.out.push(b',');
        }
        if self.depth > 0 {
            self.break_line();
        }
    }

    fn break_line(&mut self) {
        if self.pretty {
            self.out.push(b'\n');
            self.out.resize(self.out.len() + 4 * self.depth, b' ');
        }
    }
}

/// Is the document indented?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pretty {
    /// By four blanks.
    Yes,
    /// No white space at all.
    No,
}

impl From<bool> for Pretty {
    fn from(pretty: bool) -> Self {
        if pretty { Self::Yes } else { Self::No }
    }
}

/// What each byte needs: 0 = nothing, 1 = an escape, 2 = a look at the bytes around it.
static ESCAPES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = 1;
        byte += 1;
    }
    table[b'"' as usize] = 1;
    table[b'\\' as usize] = 1;
    table[b'<' as usize] = 1;
    table[b'>' as usize] = 1;
    table[b'&' as usize] = 1;
    let mut byte = 0x80;
    while byte < 0x100 {
        table[byte] = 2;
        byte += 1;
    }
    table
};

/// Appends `text` as a JSON string, quotes included.
pub fn push_string(out: &mut Vec<u8>, text: &[u8]) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| ESCAPES[usize::from(*byte)] != 0) {
        let (plain, special) = rest.split_at(at);
        out.extend_from_slice(plain);
        rest = match special[0] {
            byte if byte < 0x80 => {
                push_escape(out, byte);
                &special[1..]
            }
            _ => push_wide(out, special),
        };
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn push_escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        0x0c => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// Appends a run of bytes from 0x80 up, and answers what follows it.
fn push_wide<'a>(out: &mut Vec<u8>, text: &'a [u8]) -> &'a [u8] {
    let end = text.iter().position(|byte| *byte < 0x80).unwrap_or(text.len());
    let (run, rest) = text.split_at(end);
    for chunk in run.utf8_chunks() {
        push_valid(out, chunk.valid());
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
    rest
}

/// Everything but U+2028 and U+2029, which no script may see bare.
fn push_valid(out: &mut Vec<u8>, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.find(['\u{2028}', '\u{2029}']) {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        out.extend_from_slice(if rest[at..].starts_with('\u{2028}') {
            b"\\u2028"
        } else {
            b"\\u2029"
        });
        rest = &rest[at + '\u{2028}'.len_utf8()..];
    }
    out.extend_from_slice(rest.as_bytes());
}
