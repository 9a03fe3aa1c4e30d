//! A node's key pair: what makes it this node. It never leaves the machine.

use std::fmt;

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ED25519, PublicKeyData};
use ring::hmac;
use rustls::pki_types::PrivatePkcs8KeyDer;
use zeroize::Zeroizing;

use crate::Error;

/// An Ed25519 key pair, kept as PKCS #8. Its debug form shows nothing.
///
/// Ed25519 because its keys and signatures have one length: what carries certificates is as long in each
/// run, so a simulation replays exactly although keys are random.
#[derive(Clone)]
pub struct NodeKey {
    pkcs8: Zeroizing<Vec<u8>>,
}

impl NodeKey {
    /// Draws a new key pair from the system's randomness.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn generate() -> Result<Self, Error> {
        let pair = KeyPair::generate_for(&PKCS_ED25519)
            .map_err(|error| Error::certificate("new key", error))?;
        Ok(Self { pkcs8: Zeroizing::new(pair.serialize_der()) })
    }

    /// Reads a PKCS #8 key.
    ///
    /// # Errors
    /// When it is no Ed25519 key.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, Error> {
        let key = Self { pkcs8: Zeroizing::new(pkcs8.to_vec()) };
        key.pair().map(|_usable| key)
    }

    /// A request for a certificate (DER). It proves that the key is ours; who the node is, and its
    /// role, are the issuer's to say.
    ///
    /// # Errors
    /// When the key cannot sign.
    pub fn request(&self) -> Result<Vec<u8>, Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params
            .serialize_request(&self.pair()?)
            .map_err(|error| Error::certificate("certificate request", error))?;
        Ok(request.der().to_vec())
    }

    /// The key as PKCS #8, for TLS and for the file.
    pub(crate) fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The public key as a certificate carries it.
    pub(crate) fn public(&self) -> Result<Vec<u8>, Error> {
        Ok(self.pair()?.der_bytes().to_vec())
    }

    /// A secret of its own for one `purpose`, the same after each restart.
    pub(crate) fn derive(&self, purpose: &str) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.pkcs8);
        let tag = hmac::sign(&key, purpose.as_bytes());
        tag.as_ref().try_into().expect("SHA-256 gives 32 bytes")
    }

    pub(super) fn pair(&self) -> Result<KeyPair, Error> {
        let pkcs8 = PrivatePkcs8KeyDer::from(&self.pkcs8[..]);
        KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8, &PKCS_ED25519)
            .map_err(|error| Error::certificate("private key", error))
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeKey(redacted)")
    }
}
