//! Who this node is: its key, its certificate, and the CA that signed it, in one file.

use std::path::Path;

use swarm_model::id::{ClusterId, NodeId};
use swarm_model::node::Role;
use swarm_model::units::Timestamp;
use zeroize::Zeroizing;

use super::certificate::{self, NodeCertificate};
use super::{NodeKey, file};
use crate::Error;

/// The file's name in the directory given to [`Identity::save`].
pub const IDENTITY_FILE: &str = "identity.pem";
const WHAT: &str = "node identity";

/// A node's proof of who it is. Its debug form shows no key.
#[derive(Debug, Clone)]
pub struct Identity {
    key: NodeKey,
    certificate: Vec<u8>,
    ca: Vec<u8>,
    contents: NodeCertificate,
}

impl Identity {
    /// Puts a key, its certificate (DER) and the CA's certificate (DER) together.
    ///
    /// # Errors
    /// When they do not belong together: another key, another CA, another cluster.
    pub fn new(key: NodeKey, certificate: Vec<u8>, ca: Vec<u8>) -> Result<Self, Error> {
        let contents = NodeCertificate::read(&certificate)?;
        if contents.public_key != key.public()? {
            return Err(Error::certificate(WHAT, "the certificate is for another key"));
        }
        let issuer = certificate::parse(&ca)?;
        if !issuer.is_ca() || certificate::cluster_of(&issuer)? != contents.cluster_id {
            return Err(Error::certificate(WHAT, "the CA is of another cluster"));
        }
        certificate::parse(&certificate)?
            .verify_signature(Some(issuer.public_key()))
            .map_err(|_invalid| Error::certificate(WHAT, "the CA did not sign the certificate"))?;
        Ok(Self { key, certificate, ca, contents })
    }

    /// The same node with a renewed `certificate` (DER) for the same key.
    ///
    /// # Errors
    /// When it is for another key, node or cluster, or not signed by the CA.
    pub fn renewed(&self, certificate: Vec<u8>) -> Result<Self, Error> {
        let renewed = Self::new(self.key.clone(), certificate, self.ca.clone())?;
        if renewed.node_id() != self.node_id() {
            return Err(Error::certificate(WHAT, "the certificate is for another node"));
        }
        Ok(renewed)
    }

    /// The cluster this node belongs to.
    pub fn cluster_id(&self) -> ClusterId {
        self.contents.cluster_id
    }

    /// The node.
    pub fn node_id(&self) -> NodeId {
        self.contents.node_id
    }

    /// The role at the time of issue; the member list may know better.
    pub fn role(&self) -> Role {
        self.contents.role
    }

    /// When the certificate was signed.
    pub fn issued_at(&self) -> Timestamp {
        self.contents.issued_at
    }

    /// When the certificate stops being accepted.
    pub fn expires_at(&self) -> Timestamp {
        self.contents.expires_at
    }

    /// The node's key pair; renewals keep it.
    pub fn key(&self) -> &NodeKey {
        &self.key
    }

    /// The node's certificate (DER).
    pub fn cert_der(&self) -> &[u8] {
        &self.certificate
    }

    /// The CA's certificate (DER).
    pub fn ca_der(&self) -> &[u8] {
        &self.ca
    }

    /// Writes the identity into `dir`, mode 0600, whole or not at all. Blocks on the disk.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, dir: &Path) -> Result<(), Error> {
        let key = Zeroizing::new(pem::encode(&pem::Pem::new("PRIVATE KEY", self.key.pkcs8())));
        let certificate = pem::encode(&pem::Pem::new("CERTIFICATE", &self.certificate[..]));
        let ca = pem::encode(&pem::Pem::new("CERTIFICATE", &self.ca[..]));
        let text = Zeroizing::new(format!("{}{certificate}{ca}", *key));
        file::replace(&dir.join(IDENTITY_FILE), &text)
    }

    /// Reads the identity in `dir`. Blocks on the disk.
    ///
    /// # Errors
    /// When the file is missing or damaged.
    pub fn load(dir: &Path) -> Result<Self, Error> {
        Self::from_pem(&file::read(&dir.join(IDENTITY_FILE))?)
    }

    /// Reads the file's contents.
    ///
    /// # Errors
    /// When they are damaged, or do not belong together.
    pub(crate) fn from_pem(text: &str) -> Result<Self, Error> {
        let parts = pem::parse_many(text.as_bytes()).map_err(|e| Error::certificate(WHAT, e))?;
        match &parts[..] {
            [key, node, ca] => Self::new(
                NodeKey::from_pkcs8(key.contents())?,
                node.contents().to_vec(),
                ca.contents().to_vec(),
            ),
            _ => Err(Error::certificate(WHAT, "it must be a private key and two certificates")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CLOCK_SKEW, Root, digest};
    use super::*;
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
    const DAY: Duration = Duration::from_secs(86_400);

    fn identity(root: &Root, raw: u128, role: Role) -> Identity {
        let key = NodeKey::generate().expect("randomness");
        let request = key.request().expect("signed");
        let node = NodeId::from_raw(raw);
        let certificate = root.issue(&request, node, role, NOW, DAY).expect("issued");
        Identity::new(key, certificate, root.cert_der().to_vec()).expect("they belong together")
    }

    fn root(raw: u128) -> Root {
        Root::create(ClusterId::from_raw(raw), NOW).expect("created")
    }

    #[test]
    fn a_certificate_says_node_role_cluster_and_validity() {
        let identity = identity(&root(5), 9, Role::Manager);
        assert_eq!(identity.cluster_id(), ClusterId::from_raw(5));
        assert_eq!(identity.node_id(), NodeId::from_raw(9));
        assert_eq!(identity.role(), Role::Manager);
        assert_eq!(identity.issued_at(), NOW);
        assert_eq!(identity.expires_at(), NOW.after(DAY));
        assert_eq!(CLOCK_SKEW, Duration::from_secs(3600));
    }

    #[test]
    fn keys_and_certificates_of_a_kind_are_equally_long() {
        let length = |_| {
            let root = root(5);
            let node = identity(&root, 9, Role::Worker);
            (root.cert_der().len(), node.cert_der().len(), node.key().pkcs8().len())
        };
        let lengths: std::collections::BTreeSet<_> = (0..200).map(length).collect();
        assert_eq!(lengths.len(), 1, "a simulation would not replay: {lengths:?}");
    }

    #[test]
    fn an_identity_survives_its_file() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let saved = identity(&root(5), 9, Role::Worker);
        saved.save(dir.path()).expect("saved");
        let loaded = Identity::load(dir.path()).expect("loaded");
        assert_eq!(loaded.cert_der(), saved.cert_der());
        assert_eq!(loaded.key().pkcs8(), saved.key().pkcs8());
        std::fs::write(dir.path().join(IDENTITY_FILE), "-----BEGIN").expect("damaged");
        assert!(Identity::load(dir.path()).is_err());
    }

    #[test]
    fn a_ca_survives_its_file_and_signs_as_before() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("ca.pem");
        let saved = root(5);
        saved.save(&path).expect("saved");
        let loaded = Root::load(&path).expect("loaded");
        assert_eq!(loaded.digest(), saved.digest());
        assert_eq!(loaded.digest(), digest(saved.cert_der()));
        identity(&loaded, 3, Role::Worker);
        let other = root(6);
        let mixed = format!(
            "{}{}",
            pem::encode(&pem::Pem::new("PRIVATE KEY", saved.to_pem().as_bytes())),
            pem::encode(&pem::Pem::new("CERTIFICATE", other.cert_der()))
        );
        assert!(Root::from_pem(&mixed).is_err());
    }

    #[test]
    fn parts_that_do_not_belong_together_are_refused() {
        let (one, two) = (root(5), root(5));
        let node = identity(&one, 9, Role::Worker);
        let other = NodeKey::generate().expect("randomness");
        let mixed = |key: &NodeKey, ca: &Root| {
            Identity::new(key.clone(), node.cert_der().to_vec(), ca.cert_der().to_vec())
        };
        assert!(mixed(node.key(), &one).is_ok());
        assert!(mixed(&other, &one).is_err(), "another key");
        assert!(mixed(node.key(), &two).is_err(), "a CA of the same name that did not sign");
    }

    #[test]
    fn a_renewal_keeps_key_and_node() {
        let root = root(5);
        let node = identity(&root, 9, Role::Worker);
        let request = node.key().request().expect("signed");
        let issue = |raw| {
            let node = NodeId::from_raw(raw);
            root.issue(&request, node, Role::Manager, NOW.after(DAY), DAY).expect("issued")
        };
        let renewed = node.renewed(issue(9)).expect("the same node");
        assert_eq!(renewed.role(), Role::Manager);
        assert_eq!(renewed.expires_at(), NOW.after(2 * DAY));
        assert!(node.renewed(issue(10)).is_err(), "another node");
    }

    #[test]
    fn a_damaged_request_is_refused() {
        let root = root(5);
        let mut request = NodeKey::generate().expect("randomness").request().expect("signed");
        let issue = |request: &[u8]| {
            root.issue(request, NodeId::from_raw(1), Role::Worker, NOW, DAY).map(drop)
        };
        assert!(issue(&request).is_ok());
        assert!(issue(b"hello").is_err());
        let last = request.len() - 1;
        request[last] ^= 1;
        assert!(issue(&request).is_err(), "the signature does not hold");
    }

    #[test]
    fn debug_forms_show_no_key() {
        let root = root(5);
        let shown = format!("{root:?} {:?}", identity(&root, 9, Role::Worker).key());
        assert!(shown.contains("NodeKey(redacted)"), "{shown}");
    }
}
