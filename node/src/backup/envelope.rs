//! The file around a backup: what it is, how long, and encryption with a passphrase.
//!
//! `magic 8, format u8, protection u8, [salt 16, memory KiB u32, passes u32, lanes u32, check 16,
//! nonce 12], length of the body u64, SHA-256 of all that; the body, then its SHA-256 (plain) or with its
//! tag inside (ChaCha20-Poly1305)`. Key and check come from Argon2id. Knows nothing of what is inside.

use argon2::{Algorithm, Argon2, Params, Version};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};

use super::BackupError;

/// The newest format of the file.
pub const FORMAT: u8 = 1;
const MAGIC: [u8; 8] = *b"swarmbak";
const PLAIN: u8 = 0;
const PASSPHRASE: u8 = 1;
const HASH: usize = 32;
/// Argon2id as OWASP recommends it where memory is dear: 19 MiB, two passes.
const COST: Cost = Cost { memory_kib: 19_456, passes: 2, lanes: 1 };
/// What a file may ask for: nobody's memory is to be filled by a head that was altered.
const DEAREST: Cost = Cost { memory_kib: 128 << 10, passes: 16, lanes: 16 };

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// What the passphrase's key is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lock {
    salt: [u8; 16],
    cost: Cost,
    /// Tells a wrong passphrase from damage.
    check: [u8; 16],
    nonce: [u8; 12],
}

/// Puts `body` into a file, encrypted if there is a passphrase. Takes a moment, on purpose.
///
/// # Errors
/// When the system gives no randomness.
pub fn seal(body: Vec<u8>, passphrase: Option<&str>) -> Result<Vec<u8>, BackupError> {
    let Some(passphrase) = passphrase else {
        let mut file = head(None, body.len());
        let hash = digest(&SHA256, &body);
        file.extend_from_slice(&body);
        file.extend_from_slice(hash.as_ref());
        return Ok(file);
    };
    let (mut salt, mut nonce) = ([0; 16], [0; 12]);
    let random = SystemRandom::new();
    let failed = |_| BackupError::Crypto("the system gives no randomness".to_owned());
    random.fill(&mut salt).map_err(failed)?;
    random.fill(&mut nonce).map_err(failed)?;
    seal_with(body, passphrase, salt, nonce)
}

fn seal_with(
    mut body: Vec<u8>,
    passphrase: &str,
    salt: [u8; 16],
    nonce: [u8; 12],
) -> Result<Vec<u8>, BackupError> {
    let (key, check) = derive(passphrase, &salt, COST)?;
    let lock = Lock { salt, cost: COST, check, nonce };
    let mut file = head(Some(&lock), body.len() + CHACHA20_POLY1305.tag_len());
    let nonce = Nonce::assume_unique_for_key(nonce);
    let sealed = key.seal_in_place_append_tag(nonce, Aad::from(&file), &mut body);
    sealed.map_err(|error| BackupError::Crypto(error.to_string()))?;
    file.extend_from_slice(&body);
    Ok(file)
}

/// The body of a file, checked. Changes nothing but memory.
///
/// # Errors
/// See [`BackupError`].
pub fn open(file: &[u8], passphrase: Option<&str>) -> Result<Vec<u8>, BackupError> {
    let (lock, head, rest) = read_head(file)?;
    let (Some(lock), Some(passphrase)) = (lock, passphrase) else {
        if lock.is_some() {
            return Err(BackupError::Locked);
        }
        let (body, hash) = rest.split_at(rest.len() - HASH);
        if digest(&SHA256, body).as_ref() != hash {
            return Err(altered("its body"));
        }
        return Ok(body.to_vec());
    };
    let (key, check) = derive(passphrase, &lock.salt, lock.cost)?;
    if check != lock.check {
        return Err(BackupError::WrongPassphrase);
    }
    let nonce = Nonce::assume_unique_for_key(lock.nonce);
    let mut body = rest.to_vec();
    let opened = key.open_in_place(nonce, Aad::from(head), &mut body);
    let length = opened.map_err(|_unspecified| altered("its body"))?.len();
    body.truncate(length);
    Ok(body)
}

/// Whether a file says that it is encrypted.
pub fn is_locked(file: &[u8]) -> bool {
    file.starts_with(&MAGIC) && file.get(9) == Some(&PASSPHRASE)
}

fn altered(what: &str) -> BackupError {
    BackupError::Altered { what: what.to_owned() }
}

fn head(lock: Option<&Lock>, length: usize) -> Vec<u8> {
    let mut head = MAGIC.to_vec();
    head.push(FORMAT);
    head.push(if lock.is_some() { PASSPHRASE } else { PLAIN });
    if let Some(Lock { salt, cost, check, nonce }) = lock {
        head.extend_from_slice(salt);
        for number in [cost.memory_kib, cost.passes, cost.lanes] {
            head.extend_from_slice(&number.to_le_bytes());
        }
        head.extend_from_slice(check);
        head.extend_from_slice(nonce);
    }
    head.extend_from_slice(&(length as u64).to_le_bytes());
    let hash = digest(&SHA256, &head);
    head.extend_from_slice(hash.as_ref());
    head
}

/// Takes fixed pieces off the front.
struct Reader<'a> {
    file: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], BackupError> {
        let rest = self.file.get(self.at..).unwrap_or_default();
        let cut =
            BackupError::Truncated { have: self.file.len() as u64, expected: (self.at + N) as u64 };
        self.at += N;
        rest.first_chunk().copied().ok_or(cut)
    }

    fn number(&mut self) -> Result<u32, BackupError> {
        Ok(u32::from_le_bytes(self.take()?))
    }
}

/// The lock, the bytes of the head, and what follows it.
type Parted<'a> = (Option<Lock>, &'a [u8], &'a [u8]);

/// Takes a file apart that is exactly as long as its head says.
fn read_head(file: &[u8]) -> Result<Parted<'_>, BackupError> {
    let mut reader = Reader { file, at: 0 };
    if !file.starts_with(&MAGIC) {
        return Err(if MAGIC.starts_with(file) && !file.is_empty() {
            BackupError::Truncated { have: file.len() as u64, expected: MAGIC.len() as u64 }
        } else {
            BackupError::Foreign
        });
    }
    let _magic: [u8; 8] = reader.take()?;
    let [format] = reader.take()?;
    if format != FORMAT {
        return Err(BackupError::Newer { found: format.into(), known: FORMAT.into() });
    }
    let lock = match reader.take()? {
        [PLAIN] => None,
        [PASSPHRASE] => Some(Lock {
            salt: reader.take()?,
            cost: Cost {
                memory_kib: reader.number()?,
                passes: reader.number()?,
                lanes: reader.number()?,
            },
            check: reader.take()?,
            nonce: reader.take()?,
        }),
        [_] => return Err(altered("its head")),
    };
    let length = u64::from_le_bytes(reader.take()?);
    let end = reader.at;
    let hash: [u8; HASH] = reader.take()?;
    if digest(&SHA256, &file[..end]).as_ref() != hash {
        return Err(altered("its head"));
    }
    let (head, rest) = file.split_at(reader.at);
    let trailer = if lock.is_some() { 0 } else { HASH as u64 };
    let (have, expected) = (rest.len() as u64, length.saturating_add(trailer));
    let whole = |part: u64| part.saturating_add(head.len() as u64);
    match have.cmp(&expected) {
        std::cmp::Ordering::Less => {
            Err(BackupError::Truncated { have: whole(have), expected: whole(expected) })
        }
        std::cmp::Ordering::Greater => Err(altered("its length")),
        std::cmp::Ordering::Equal => Ok((lock, head, rest)),
    }
}

fn derive(
    passphrase: &str,
    salt: &[u8; 16],
    cost: Cost,
) -> Result<(LessSafeKey, [u8; 16]), BackupError> {
    let Cost { memory_kib, passes, lanes } = cost;
    if memory_kib > DEAREST.memory_kib || passes > DEAREST.passes || lanes > DEAREST.lanes {
        return Err(altered("its head"));
    }
    let failed = |error: argon2::Error| BackupError::Crypto(error.to_string());
    // Ours fit, so they are a file's that is being read.
    let params = Params::new(memory_kib, passes, lanes, Some(48));
    let params = params.map_err(|_misfit| altered("its head"))?;
    let mut both = [0; 48];
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon.hash_password_into(passphrase.as_bytes(), salt, &mut both).map_err(failed)?;
    let (key, check) = both.split_at(32);
    let key = UnboundKey::new(&CHACHA20_POLY1305, key);
    let key = key.map_err(|error| BackupError::Crypto(error.to_string()))?;
    let check = check.try_into().expect("48 bytes are a key of 32 and a check of 16");
    Ok((LessSafeKey::new(key), check))
}

pub(crate) mod fuzz {
    use swarm_model::fuzz::Target;

    use super::{Cost, HASH, Lock, SHA256, digest, head, open, read_head, seal};

    /// A file that is not encrypted.
    pub(crate) const FILE: Target = Target::new(
        "node.backup-file",
        |bytes| open(bytes, None).is_ok(),
        || vec![seal(b"state and keys".to_vec(), None).expect("plain")],
    );
    /// A head whose hash fits, whatever is in it, and the end of its file.
    pub(crate) const HEAD: Target = Target::new("node.backup-head", hashed, || {
        let cost = Cost { memory_kib: 64, passes: 1, lanes: 1 };
        let lock = Lock { salt: [1; 16], cost, check: [3; 16], nonce: [2; 12] };
        [None, Some(&lock)].map(|lock| head(lock, 0)).map(|head| unhashed(&head)).to_vec()
    });

    fn unhashed(head: &[u8]) -> Vec<u8> {
        head[..head.len() - HASH].to_vec()
    }

    fn hashed(bytes: &[u8]) -> bool {
        let hash = digest(&SHA256, bytes);
        let file = [bytes, hash.as_ref(), &[0; HASH]].concat();
        read_head(&file).is_ok() | read_head(&file[..file.len() - HASH]).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = b"state and keys";

    fn locked() -> Vec<u8> {
        seal_with(BODY.to_vec(), "correct horse", [1; 16], [2; 12]).expect("encrypted")
    }

    #[test]
    fn golden_bytes_of_the_head() {
        let cost = Cost { memory_kib: 19_456, passes: 2, lanes: 1 };
        let lock = Lock { salt: [1; 16], cost, check: [3; 16], nonce: [2; 12] };
        let bytes = head(Some(&lock), 30);
        let golden = [
            b"swarmbak".as_slice(),
            &[1, 1],
            &[1; 16],
            &[0, 76, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0],
            &[3; 16],
            &[2; 12],
            &[30, 0, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        assert_eq!(bytes[..golden.len()], golden);
        assert_eq!(bytes.len(), golden.len() + HASH);
        let plain = head(None, 14);
        assert_eq!(
            plain[..18],
            [b"swarmbak".as_slice(), &[1, 0, 14, 0, 0, 0, 0, 0, 0, 0]].concat()
        );
    }

    #[test]
    fn files_are_opened_with_what_they_were_sealed_with() {
        let plain = seal(BODY.to_vec(), None).expect("written");
        assert_eq!(open(&plain, None).expect("whole"), BODY);
        assert_eq!(open(&plain, Some("needless")).expect("whole"), BODY);
        let locked = locked();
        assert!(is_locked(&locked) && !is_locked(&plain));
        assert!(!locked.windows(5).any(|bytes| bytes == b"state"));
        assert_eq!(open(&locked, Some("correct horse")).expect("whole"), BODY);
        assert_eq!(open(&locked, None), Err(BackupError::Locked));
        assert_eq!(open(&locked, Some("battery")), Err(BackupError::WrongPassphrase));
    }

    #[test]
    fn every_cut_and_every_flipped_byte_of_a_plain_file_is_found() {
        let plain = seal(BODY.to_vec(), None).expect("written");
        for end in 1..plain.len() {
            assert!(
                matches!(open(&plain[..end], None), Err(BackupError::Truncated { .. })),
                "{end}"
            );
        }
        for at in 0..plain.len() {
            let mut bytes = plain.clone();
            bytes[at] ^= 0x10;
            let error = open(&bytes, None).expect_err("found");
            match at {
                0..8 => assert_eq!(error, BackupError::Foreign),
                8 => assert_eq!(error, BackupError::Newer { found: 17, known: 1 }),
                _ => assert!(matches!(error, BackupError::Altered { .. }), "{at}: {error}"),
            }
        }
        let long = [plain, vec![0]].concat();
        assert!(matches!(open(&long, None), Err(BackupError::Altered { .. })));
        assert_eq!(open(b"", None), Err(BackupError::Foreign));
    }

    #[test]
    fn costs_that_make_no_key_are_the_files_fault() {
        for (memory_kib, passes, lanes) in [(0, 1, 1), (64, 0, 1), (64, 1, 0), (u32::MAX, 1, 1)] {
            let cost = Cost { memory_kib, passes, lanes };
            let lock = Lock { salt: [1; 16], cost, check: [3; 16], nonce: [2; 12] };
            let file = [head(Some(&lock), BODY.len()), BODY.to_vec()].concat();
            let error = open(&file, Some("correct horse")).expect_err("refused");
            assert!(matches!(error, BackupError::Altered { .. }), "{cost:?}: {error}");
        }
    }

    #[test]
    fn an_altered_body_is_not_a_wrong_passphrase() {
        let locked = locked();
        let last = locked.len() - 1;
        for at in [20, last - 16, last] {
            let mut bytes = locked.clone();
            bytes[at] ^= 1;
            let error = open(&bytes, Some("correct horse")).expect_err("found");
            assert!(matches!(error, BackupError::Altered { .. }), "{at}: {error}");
        }
        assert!(matches!(open(&locked[..last], Some("x")), Err(BackupError::Truncated { .. })));
    }
}
