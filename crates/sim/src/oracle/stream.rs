//! The random stream of an entry, made anew from its description (docs/formats.md, "The random stream of a write").
//!
//! Shares no line with production, which takes it from a crate: a stream that changed with that crate would show here.

/// Words of a block.
const BLOCK_WORDS: usize = 16;

/// ChaCha with 8 rounds, as a row of 32-bit words.
pub struct Stream {
    key: [u32; 8],
    block: [u32; BLOCK_WORDS],
    /// The next block's number.
    counter: u64,
    /// Words of `block` that are used up.
    used: usize,
}

impl Stream {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Stream {
        let mut state = seed;
        let mut key = [0; 8];
        for word in &mut key {
            *word = pcg(&mut state);
        }
        Stream {
            key,
            block: [0; BLOCK_WORDS],
            counter: 0,
            used: BLOCK_WORDS,
        }
    }

    /// What `random()` answers next.
    pub fn integer(&mut self) -> i64 {
        let low = u64::from(self.word());
        let high = u64::from(self.word());
        let number = (high << 32 | low).cast_signed();
        if number < 0 { -(number & i64::MAX) } else { number }
    }

    /// What `randomblob()` answers next.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let words = length.div_ceil(4);
        let mut bytes: Vec<u8> = (0..words).flat_map(|_| self.word().to_le_bytes()).collect();
        bytes.truncate(length);
        bytes
    }

    fn word(&mut self) -> u32 {
        if self.used == BLOCK_WORDS {
            self.block = block(&self.key, self.counter);
            self.counter += 1;
            self.used = 0;
        }
        self.used += 1;
        self.block[self.used - 1]
    }
}

/// A step of PCG-XSH-RR with 32 bits, by which a seed becomes a key.
fn pcg(state: &mut u64) -> u32 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(11_634_580_027_462_260_723);
    let shifted = (((*state >> 18) ^ *state) >> 27) & 0xffff_ffff;
    let turn = (*state >> 59) as u32;
    (shifted as u32).rotate_right(turn)
}

fn block(key: &[u32; 8], counter: u64) -> [u32; BLOCK_WORDS] {
    let mut start = [0; BLOCK_WORDS];
    start[..4].copy_from_slice(&[0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574]);
    start[4..12].copy_from_slice(key);
    start[12] = counter as u32;
    start[13] = (counter >> 32) as u32;
    let mut state = start;
    for _ in 0..4 {
        for [a, b, c, d] in [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15]] {
            quarter(&mut state, [a, b, c, d]);
        }
        for [a, b, c, d] in [[0, 5, 10, 15], [1, 6, 11, 12], [2, 7, 8, 13], [3, 4, 9, 14]] {
            quarter(&mut state, [a, b, c, d]);
        }
    }
    for (word, start) in state.iter_mut().zip(start) {
        *word = word.wrapping_add(start);
    }
    state
}

fn quarter(state: &mut [u32; BLOCK_WORDS], [a, b, c, d]: [usize; 4]) {
    for (left, right) in [(16, 12), (8, 7)] {
        state[a] = state[a].wrapping_add(state[b]);
        state[d] = (state[d] ^ state[a]).rotate_left(left);
        state[c] = state[c].wrapping_add(state[d]);
        state[b] = (state[b] ^ state[c]).rotate_left(right);
    }
}
