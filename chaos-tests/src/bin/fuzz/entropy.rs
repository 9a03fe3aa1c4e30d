//! Makes this process's randomness repeatable: tokio's choice among ready branches and the order of
//! hash maps come from the system's `getrandom`, which std lets a program replace.
//!
//! Only in this program: nothing that meets the outside world runs in it.

use std::ffi::{c_uint, c_void};
use std::sync::atomic::{AtomicU64, Ordering};

static STATE: AtomicU64 = AtomicU64::new(0x5eed);

/// Does something that the run must not notice, as showing the log: what it draws, and the hash maps
/// that it makes, move nothing of what the run draws.
///
/// # Errors
/// When there is no thread to do it in.
pub(crate) fn apart(act: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    let before = STATE.load(Ordering::Relaxed);
    let done = std::thread::Builder::new().spawn(act)?.join();
    STATE.store(before, Ordering::Relaxed);
    done.map_err(|_panic| std::io::Error::other("the thread ended early"))
}

/// The system call's stand-in: the same bytes in each run (SplitMix64, Steele et al. 2014).
///
/// # Safety
/// As of the function of libc that it replaces: `buffer` must be valid for `length` bytes.
#[expect(unsafe_code, reason = "the symbol that std calls for randomness must be defined here")]
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, _flags: c_uint) -> isize {
    for at in 0..length {
        let state = STATE.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let [byte, ..] = (mixed ^ (mixed >> 31)).to_le_bytes();
        // SAFETY: the caller lends `length` bytes from `buffer`, and `at` is below that.
        unsafe { buffer.cast::<u8>().add(at).write(byte) };
    }
    isize::try_from(length).unwrap_or(-1)
}
