//! Chance, with a seed that can be printed and given again.

use std::hash::{BuildHasher, Hasher, RandomState};

/// A stream of numbers that look random.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// From `SEED` in the environment where it is set, else from the system's own chance.
    pub fn new() -> Self {
        match std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()) {
            Some(seed) => Self(seed),
            None => Self(RandomState::new().build_hasher().finish() | 1),
        }
    }

    /// What to give as `SEED` to see the same again.
    pub fn seed(&self) -> u64 {
        self.0
    }

    /// The next number, below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::new()
    }
}

/// A name that no other test has: letters that make no words.
pub fn suffix() -> String {
    let mut number = RandomState::new().build_hasher().finish();
    let alphabet = b"bcdfghjklmnpqrstvwxz2456789";
    (0..5)
        .map(|_| {
            let letter = alphabet[(number % alphabet.len() as u64) as usize];
            number /= alphabet.len() as u64;
            char::from(letter)
        })
        .collect()
}
