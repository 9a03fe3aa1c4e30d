//! Join tokens: `SWMTKN-1-<base36 SHA-256 of the CA>-<base36 secret>`, as Docker Swarm writes them.
//!
//! The first part lets a new node know the cluster, the second lets the cluster know the new node.

use std::fmt;
use std::str::FromStr;

use super::base36;
use crate::Error;

const PREFIX: &str = "SWMTKN-1-";
/// Digits of 256 bits.
const DIGEST_DIGITS: usize = 50;
/// Digits of 128 bits.
const SECRET_DIGITS: usize = 25;

/// What `swarm join` is given. Its debug form shows no secret.
#[derive(Clone, Copy)]
pub struct JoinToken {
    /// The SHA-256 of the cluster's CA certificate.
    pub ca_digest: [u8; 32],
    secret: [u8; 16],
}

impl JoinToken {
    /// A token of the cluster with this CA.
    pub fn new(ca_digest: [u8; 32], secret: [u8; 16]) -> Self {
        Self { ca_digest, secret }
    }

    /// The secret part, to be sent only to a verified peer.
    pub fn secret(&self) -> [u8; 16] {
        self.secret
    }

    /// Whether the token's secret is `expected`; takes the same time whatever the answer.
    pub fn opens(&self, expected: &[u8; 16]) -> bool {
        let pairs = self.secret.iter().zip(expected);
        let difference =
            pairs.fold(0u8, |all, (own, other)| std::hint::black_box(all | (own ^ other)));
        std::hint::black_box(difference) == 0
    }
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = base36::encode(&self.ca_digest, DIGEST_DIGITS);
        write!(f, "{PREFIX}{digest}-{}", base36::encode(&self.secret, SECRET_DIGITS))
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}-redacted", base36::encode(&self.ca_digest, DIGEST_DIGITS))
    }
}

impl FromStr for JoinToken {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let fault = |reason| Error::Token { reason };
        let rest = text
            .trim()
            .strip_prefix(PREFIX)
            .ok_or_else(|| fault("it does not begin with SWMTKN-1-"))?;
        let (digest, secret) =
            rest.split_once('-').ok_or_else(|| fault("a part is missing: was it cut off?"))?;
        let ca_digest = base36::decode(digest, DIGEST_DIGITS)
            .ok_or_else(|| fault("its third part is not 50 characters of 0-9 and a-z"))?;
        let secret = base36::decode(secret, SECRET_DIGITS)
            .ok_or_else(|| fault("its last part is not 25 characters of 0-9 and a-z"))?;
        Ok(Self { ca_digest, secret })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_read_back_as_written() {
        let token = JoinToken::new([0xab; 32], [0xcd; 16]);
        let text = token.to_string();
        assert_eq!(text.len(), PREFIX.len() + 50 + 1 + 25);
        let read: JoinToken = format!(" {text}\n").parse().expect("it was just written");
        assert_eq!(read.ca_digest, token.ca_digest);
        assert!(read.opens(&[0xcd; 16]));
        assert!(!read.opens(&[0xce; 16]));
        assert!(!format!("{token:?}").contains(&base36::encode(&[0xcd; 16], 25)));
    }

    #[test]
    fn each_way_to_spoil_a_token_has_its_own_message() {
        let good = JoinToken::new([1; 32], [2; 16]).to_string();
        let message = |text: &str| text.parse::<JoinToken>().expect_err("spoiled").to_string();
        assert!(message("hello").contains("begin with SWMTKN-1-"));
        assert!(message(&good[..40]).contains("cut off"));
        assert!(message(&good.replace("SWMTKN-1-", "SWMTKN-1-x")).contains("third part"));
        assert!(message(&good[..good.len() - 1]).contains("last part"));
    }
}
