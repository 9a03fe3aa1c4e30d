//! The cluster's certificate authority: created at `swarm init`, held by managers only.
//!
//! It signs what it is told to; who may get which certificate is decided above.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use ring::digest::{SHA256, digest as hash};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer};
use swarm_model::id::{ClusterId, NodeId};
use swarm_model::node::Role;
use swarm_model::units::Timestamp;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::{NodeKey, certificate, file};
use crate::Error;

/// How far the clocks of two nodes may be apart: certificates begin this much before their issue.
pub const CLOCK_SKEW: Duration = Duration::from_secs(3600);
/// How long the CA itself is valid: nobody is on site to renew it.
const CA_VALIDITY: Duration = Duration::from_secs(20 * 365 * 24 * 3600);
const WHAT: &str = "cluster CA";

/// The certificate authority with its private key. Its debug form shows no key.
pub struct Root {
    cluster_id: ClusterId,
    certificate: Vec<u8>,
    key: NodeKey,
    issuer: Issuer<'static, KeyPair>,
}

/// The SHA-256 of a CA certificate (DER), which join tokens carry.
pub fn digest(ca_der: &[u8]) -> [u8; 32] {
    hash(&SHA256, ca_der).as_ref().try_into().expect("SHA-256 gives 32 bytes")
}

impl Root {
    /// Draws a new CA for `cluster_id`, valid for 20 years from `now`.
    ///
    /// # Errors
    /// When the system gives no randomness, or `now` is out of range.
    pub fn create(cluster_id: ClusterId, now: Timestamp) -> Result<Self, Error> {
        let key = NodeKey::generate()?;
        let mut params = CertificateParams::default();
        params.not_before = moment(now)? - CLOCK_SKEW;
        params.not_after = moment(now.after(CA_VALIDITY))?;
        params.serial_number = Some(serial()?);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "swarm-ca");
        params.distinguished_name.push(DnType::OrganizationName, cluster_id.to_string());
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate =
            params.self_signed(&key.pair()?).map_err(|error| Error::certificate(WHAT, error))?;
        Self::from_parts(certificate.der().to_vec(), key)
    }

    fn from_parts(certificate: Vec<u8>, key: NodeKey) -> Result<Self, Error> {
        let parsed = certificate::parse(&certificate)?;
        let cluster_id = certificate::cluster_of(&parsed)?;
        if !parsed.is_ca() || *parsed.public_key().subject_public_key.data != key.public()? {
            return Err(Error::certificate(WHAT, "certificate and key do not belong together"));
        }
        let issuer = Issuer::from_ca_cert_der(&CertificateDer::from(&certificate[..]), key.pair()?)
            .map_err(|error| Error::certificate(WHAT, error))?;
        Ok(Self { cluster_id, certificate, key, issuer })
    }

    /// The cluster whose CA this is.
    pub fn cluster_id(&self) -> ClusterId {
        self.cluster_id
    }

    /// The CA's certificate (DER), which every node holds.
    pub fn cert_der(&self) -> &[u8] {
        &self.certificate
    }

    /// The SHA-256 of the certificate.
    pub fn digest(&self) -> [u8; 32] {
        digest(&self.certificate)
    }

    /// Signs a certificate (DER) for the key in `request` (DER), valid from an hour before `now` until
    /// `validity` after it. Names in the request count for nothing.
    ///
    /// # Errors
    /// When the request is malformed, not signed by its key, or no Ed25519 request.
    pub fn issue(
        &self,
        request: &[u8],
        node_id: NodeId,
        role: Role,
        now: Timestamp,
        validity: Duration,
    ) -> Result<Vec<u8>, Error> {
        const REQUEST: &str = "certificate request";
        let request =
            CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(request))
                .map_err(|error| Error::certificate(REQUEST, error))?;
        if *request.public_key.algorithm() != rcgen::PKCS_ED25519 {
            return Err(Error::certificate(REQUEST, "its key is not of the kind Ed25519"));
        }
        let mut params = CertificateParams::default();
        params.not_before = moment(now)? - CLOCK_SKEW;
        params.not_after = moment(now.after(validity))?;
        params.serial_number = Some(serial()?);
        let name = super::server_name(node_id);
        let name = name.try_into().map_err(|error| Error::certificate(REQUEST, error))?;
        params.subject_alt_names = vec![SanType::DnsName(name)];
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, node_id.to_string());
        params.distinguished_name.push(DnType::OrganizationName, self.cluster_id.to_string());
        params
            .distinguished_name
            .push(DnType::OrganizationalUnitName, certificate::role_word(role));
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let signed = params
            .signed_by(&request.public_key, &self.issuer)
            .map_err(|error| Error::certificate(REQUEST, error))?;
        Ok(signed.der().to_vec())
    }

    /// Certificate and private key as PEM: for other managers and for the file.
    pub fn to_pem(&self) -> Zeroizing<String> {
        let key = Zeroizing::new(pem::encode(&pem::Pem::new("PRIVATE KEY", self.key.pkcs8())));
        let certificate = pem::encode(&pem::Pem::new("CERTIFICATE", &self.certificate[..]));
        Zeroizing::new(format!("{}{certificate}", *key))
    }

    /// Reads what [`Root::to_pem`] wrote.
    ///
    /// # Errors
    /// When it is damaged, or certificate and key do not belong together.
    pub fn from_pem(text: &str) -> Result<Self, Error> {
        let parts = pem::parse_many(text).map_err(|error| Error::certificate(WHAT, error))?;
        match &parts[..] {
            [key, cert] if key.tag() == "PRIVATE KEY" && cert.tag() == "CERTIFICATE" => {
                Self::from_parts(cert.contents().to_vec(), NodeKey::from_pkcs8(key.contents())?)
            }
            _ => Err(Error::certificate(WHAT, "it must be one private key and one certificate")),
        }
    }

    /// Writes the CA to `path`, mode 0600, whole or not at all. Blocks on the disk.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        file::replace(path, &self.to_pem())
    }

    /// Reads the CA from `path`. Blocks on the disk.
    ///
    /// # Errors
    /// When the file is missing or damaged.
    pub fn load(path: &Path) -> Result<Self, Error> {
        Self::from_pem(&file::read(path)?)
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Root").field("cluster_id", &self.cluster_id).finish_non_exhaustive()
    }
}

/// A random serial number. Its first byte keeps it positive and all of them equally long.
fn serial() -> Result<SerialNumber, Error> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_unspecified| {
        Error::certificate("serial number", "the system gives no randomness")
    })?;
    if let Some(first) = bytes.first_mut() {
        *first = 0x40 | (*first & 0x3f);
    }
    Ok(SerialNumber::from(bytes.to_vec()))
}

fn moment(at: Timestamp) -> Result<OffsetDateTime, Error> {
    i64::try_from(at.as_millis() / 1000)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        // The last year that X.509 can write.
        .filter(|moment| moment.year() <= 9999)
        .ok_or_else(|| Error::certificate("validity", "it lies beyond the year 9999"))
}
