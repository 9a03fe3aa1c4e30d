//! The secret that managers share, from which join tokens are derived: tokens are stored nowhere.

use std::fmt;

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use swarm_model::node::Role;
use zeroize::Zeroizing;

use super::certificate::role_word;
use crate::Error;

/// 32 secret bytes. Its debug form shows nothing; its memory is wiped.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterSecret(Zeroizing<[u8; 32]>);

impl ClusterSecret {
    /// Draws a new secret from the system's randomness.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn generate() -> Result<Self, Error> {
        let mut bytes = Zeroizing::new([0; 32]);
        SystemRandom::new()
            .fill(&mut bytes[..])
            .map_err(|error| Error::certificate("new secret", error))?;
        Ok(Self(bytes))
    }

    /// The secret with these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for other managers and for the file.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The secret part of the token for `role`; each `rotation` has another.
    pub fn token_secret(&self, role: Role, rotation: u64) -> [u8; 16] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0[..]);
        let mut context = hmac::Context::with_key(&key);
        context.update(b"join token 1\0");
        context.update(role_word(role).as_bytes());
        context.update(&rotation.to_be_bytes());
        let tag = context.sign();
        let (half, _rest) = tag.as_ref().split_at(16);
        half.try_into().expect("SHA-256 gives 32 bytes")
    }
}

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterSecret(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_and_rotation_has_its_own_lasting_token() {
        let secret = ClusterSecret::from_bytes([7; 32]);
        let worker = secret.token_secret(Role::Worker, 0);
        assert_eq!(worker, secret.clone().token_secret(Role::Worker, 0));
        assert_ne!(worker, secret.token_secret(Role::Manager, 0));
        assert_ne!(worker, secret.token_secret(Role::Worker, 1));
        assert_ne!(worker, ClusterSecret::from_bytes([8; 32]).token_secret(Role::Worker, 0));
        assert_eq!(worker[..4], PINNED, "a changed derivation would void every token");
    }

    const PINNED: [u8; 4] = [71, 75, 205, 121];

    #[test]
    fn secrets_differ_and_do_not_show() {
        let one = ClusterSecret::generate().expect("randomness");
        assert_ne!(one, ClusterSecret::generate().expect("randomness"));
        assert_eq!(format!("{one:?}"), "ClusterSecret(redacted)");
    }
}
