//! The tokens of JSON, over a text that is valid UTF-8.
//!
//! Every method that reads begins where white space has been skipped, and leaves the scanner behind what it read.

use std::borrow::Cow;

use super::Malformed;

/// Arrays and objects inside one another, beyond which a text counts as malformed. What is deeper than two is only
/// skipped, without recursion, so this bounds time and not the stack.
const DEPTH_MAX: usize = 10_000;

/// What kind of value begins here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `[`
    Array,
    /// `{`
    Object,
    /// `"`
    String,
    /// `-` or a digit.
    Number,
    /// `true`, `false`
    Bool,
    /// `null`
    Null,
}

impl Kind {
    /// What the error texts call it.
    pub fn go_name(self) -> &'static str {
        match self {
            Self::Array => "[]interface {}",
            Self::Object => "map[string]interface {}",
            Self::String => "string",
            Self::Number => "json.Number",
            Self::Bool => "bool",
            Self::Null => "<nil>",
        }
    }
}

/// A place in a text.
pub struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    /// At the beginning of `text`.
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Skips white space and says what begins there.
    pub fn peek(&mut self) -> Result<Kind, Malformed> {
        match self.byte()? {
            b'[' => Ok(Kind::Array),
            b'{' => Ok(Kind::Object),
            b'"' => Ok(Kind::String),
            b'-' | b'0'..=b'9' => Ok(Kind::Number),
            b't' | b'f' => Ok(Kind::Bool),
            b'n' => Ok(Kind::Null),
            _ => Err(Malformed::Json),
        }
    }

    /// Reads one token: a bracket, or a whole scalar.
    pub fn token(&mut self) -> Result<(), Malformed> {
        match self.peek()? {
            Kind::Array | Kind::Object => self.open(),
            Kind::String => drop(self.string()?),
            Kind::Number => drop(self.number()?),
            Kind::Bool => drop(self.boolean()?),
            Kind::Null => self.word("null")?,
        }
        Ok(())
    }

    /// Steps into the array or object that begins here.
    pub fn open(&mut self) {
        self.at += 1;
    }

    /// Steps to the next item before `close`, over the comma; false once `close` has been read.
    pub fn next_item(&mut self, close: u8, is_first: bool) -> Result<bool, Malformed> {
        let byte = self.byte()?;
        if byte == close {
            self.at += 1;
            return Ok(false);
        }
        if is_first {
            return Ok(true);
        }
        if byte != b',' {
            return Err(Malformed::Json);
        }
        self.at += 1;
        // A comma promises an item.
        if self.byte()? == close {
            Err(Malformed::Json)
        } else {
            Ok(true)
        }
    }

    /// A member's name and its colon.
    pub fn member_name(&mut self) -> Result<Cow<'a, str>, Malformed> {
        if self.byte()? != b'"' {
            return Err(Malformed::Json);
        }
        let name = self.string()?;
        if self.byte()? != b':' {
            return Err(Malformed::Json);
        }
        self.at += 1;
        Ok(name)
    }

    /// A string, borrowed when it holds no escape.
    pub fn string(&mut self) -> Result<Cow<'a, str>, Malformed> {
        let begin = self.at + 1;
        let (plain, at) = self.plain(begin)?;
        if self.text.as_bytes()[at] == b'"' {
            self.at = at + 1;
            return Ok(Cow::Borrowed(plain));
        }
        let mut text = plain.to_owned();
        self.at = at;
        loop {
            self.escape(&mut text)?;
            let (plain, at) = self.plain(self.at)?;
            text.push_str(plain);
            self.at = at;
            if self.text.as_bytes()[at] == b'"' {
                self.at += 1;
                return Ok(Cow::Owned(text));
            }
        }
    }

    /// A number's literal.
    pub fn number(&mut self) -> Result<&'a str, Malformed> {
        let begin = self.at;
        if self.ahead() == Some(b'-') {
            self.at += 1;
        }
        match self.ahead() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.ahead() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.ahead() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.ahead() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(&self.text[begin..self.at])
    }

    /// `true` or `false`.
    pub fn boolean(&mut self) -> Result<bool, Malformed> {
        let value = self.ahead() == Some(b't');
        self.word(if value { "true" } else { "false" })?;
        Ok(value)
    }

    /// Any value, read and dropped.
    pub fn skip(&mut self) -> Result<(), Malformed> {
        let mut closers: Vec<u8> = Vec::new();
        loop {
            let kind = self.peek()?;
            self.token()?;
            let mut is_first = false;
            if let Kind::Array | Kind::Object = kind {
                closers.push(if kind == Kind::Array { b']' } else { b'}' });
                is_first = true;
            }
            if closers.len() > DEPTH_MAX {
                return Err(Malformed::Json);
            }
            loop {
                let Some(close) = closers.last().copied() else {
                    return Ok(());
                };
                if self.next_item(close, is_first)? {
                    if close == b'}' {
                        self.member_name()?;
                    }
                    break;
                }
                closers.pop();
                is_first = false;
            }
        }
    }

    /// The text from `begin` up to a quote or a backslash, and where that stands.
    fn plain(&self, begin: usize) -> Result<(&'a str, usize), Malformed> {
        let rest = &self.text.as_bytes()[begin..];
        match rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)) {
            Some(length) if rest[length] >= 0x20 => Ok((&self.text[begin..begin + length], begin + length)),
            Some(_) | None => Err(Malformed::Json),
        }
    }

    /// One escape, which begins here.
    fn escape(&mut self, text: &mut String) -> Result<(), Malformed> {
        self.at += 1;
        let byte = self.ahead().ok_or(Malformed::Json)?;
        self.at += 1;
        text.push(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => self.unicode()?,
            _ => return Err(Malformed::Json),
        });
        Ok(())
    }

    /// The four digits of `\u`, and those of a second half if this is a first; a lone half is U+FFFD.
    fn unicode(&mut self) -> Result<char, Malformed> {
        let unit = self.unit()?;
        if !(0xd800..0xdc00).contains(&unit) {
            return Ok(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let behind = self.at;
        if self.text.as_bytes()[behind..].starts_with(b"\\u") {
            self.at += 2;
            let second = self.unit()?;
            if (0xdc00..0xe000).contains(&second) {
                let scalar = 0x10000 + ((unit - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(scalar).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = behind;
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn unit(&mut self) -> Result<u32, Malformed> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4).ok_or(Malformed::Json)?;
        let unit = digits.iter().try_fold(0, |unit, digit| {
            let digit = char::from(*digit).to_digit(16).ok_or(Malformed::Json)?;
            Ok(unit << 4 | digit)
        })?;
        self.at += 4;
        Ok(unit)
    }

    /// One or more digits.
    fn digits(&mut self) -> Result<(), Malformed> {
        let rest = &self.text.as_bytes()[self.at..];
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count == 0 { Err(Malformed::Json) } else { Ok(()) }
    }

    fn word(&mut self, word: &str) -> Result<(), Malformed> {
        if !self.text[self.at..].starts_with(word) {
            return Err(Malformed::Json);
        }
        self.at += word.len();
        Ok(())
    }

    /// The next byte behind white space.
    fn byte(&mut self) -> Result<u8, Malformed> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.ahead() {
            self.at += 1;
        }
        self.ahead().ok_or(Malformed::Json)
    }

    fn ahead(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}
