//! Signatures of the platforms that ask for one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// DingTalk's: over the time in milliseconds and the secret, keyed with the secret. It goes into the address.
pub fn ding_talk_signature(milliseconds: i64, secret: &str) -> String {
    sign(secret.as_bytes(), format!("{milliseconds}\n{secret}").as_bytes())
}

/// Feishu's: over nothing, keyed with the time in seconds and the secret. It goes into the body.
pub fn feishu_signature(seconds: i64, secret: &str) -> String {
    sign(format!("{seconds}\n{secret}").as_bytes(), b"")
}

fn sign(key: &[u8], message: &[u8]) -> String {
    // HMAC takes a key of any length, so this cannot fail.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return String::new();
    };
    mac.update(message);
    STANDARD.encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    // Computed with the platforms' own samples of code in Python.
    #[test]
    fn signatures_are_those_of_the_platforms() {
        assert_eq!(
            ding_talk_signature(1_577_262_236_757, "this is secret"),
            "hmPWwU+7lVdm3ZZz0r9tSfx0L4Q26jWOZr9+Gs6EZQM="
        );
        assert_eq!(
            feishu_signature(1_599_360_473, "demo"),
            "l1N0gAcBjdwBvGm1xMjOF0XSyaLRpR7tuO5dHfhAYc8="
        );
        assert_eq!(
            ding_talk_signature(1, "秘密"),
            "myFzL9Uu8w7bOgB1b4jC59ZzC1TCvpi0euG1WF5DIS0="
        );
        assert_eq!(
            feishu_signature(1, "秘密"),
            "TaETwvaivTlVwCanXtiClecb4/R4TMtqzhBVL5i1F4w="
        );
    }
}
