//! From content to name: SHA-256 over canonical JSON, written in the vowel-free alphabet of Kubernetes.

use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{RevisionInput, canonical_json};

/// The version of the hash: raised only if [`canonical_json`] or the shape below ever had to change.
pub const HASH_VERSION: u32 = 1;

/// The alphabet of Kubernetes' generated names: no vowels and no look-alikes, so that no words come out.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// How many characters of the digest a revision's name carries.
const NAME_CHARACTERS: usize = 10;

/// The identity of a revision.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RevisionDigest([u8; 32]);

impl RevisionDigest {
    /// The digest of the user's part, the digests of what it tracks (`source` to hex digest), and the epoch, which
    /// `restart` and `refresh` raise; 0 is left out.
    pub fn of(input: &RevisionInput, tracked: &[(String, String)], epoch: i64) -> Self {
        let mut tracked: Vec<_> = tracked
            .iter()
            .map(|(source, digest)| json!([source, digest]))
            .collect();
        tracked.sort_by_key(ToString::to_string);
        let content = json!({
            "hash": HASH_VERSION,
            "input": to_value(input),
            "tracked": tracked,
            "epoch": (epoch != 0).then_some(epoch),
        });
        Self(Sha256::digest(canonical_json(&content).as_bytes()).into())
    }

    /// The digest of any serialisable value.
    pub fn of_value<T: Serialize>(value: &T) -> Self {
        Self(Sha256::digest(canonical_json(&to_value(value)).as_bytes()).into())
    }

    /// All of it, in hex.
    pub fn hex(&self) -> String {
        self.0.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// Its first `characters` in the alphabet of Kubernetes.
    pub fn short(&self, characters: usize) -> String {
        // Base 27 over the first 16 bytes: 27^26 < 2^128, so up to 26 characters carry information.
        let mut number = self
            .0
            .iter()
            .take(16)
            .fold(0_u128, |n, b| (n << 8) | u128::from(*b));
        let base = ALPHABET.len() as u128;
        (0..characters)
            .map(|_| {
                let digit = usize::try_from(number % base).unwrap_or(0);
                number /= base;
                char::from(ALPHABET[digit])
            })
            .collect()
    }

    /// The name of the revision of `service`; `collisions` counts other content that already has the shorter name.
    pub fn revision_name(&self, service: &str, collisions: u32) -> String {
        let hash = match collisions {
            0 => self.short(NAME_CHARACTERS),
            n => Self::of_value(&json!([self.hex(), n])).short(NAME_CHARACTERS),
        };
        format!("{service}-{hash}")
    }
}

/// A short digest of a text in the alphabet of Kubernetes, for names.
pub fn short_digest(text: &str, characters: usize) -> String {
    RevisionDigest(Sha256::digest(text.as_bytes()).into()).short(characters)
}

fn to_value<T: Serialize>(value: &T) -> serde_json::Value {
    // Our own types have string keys only, so this cannot fail; null would still be a valid, if useless, content.
    serde_json::to_value(value).unwrap_or_default()
}
