//! Registers: configs that one client each writes ever higher numbers to.
//!
//! A register remembers what was tried and what was acknowledged; what happened to a write that
//! nobody answered is open for ever, so its register is never written again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use swarm_model::config::Config;

/// Stands for a register of which nothing is acknowledged.
const NOTHING: u64 = u64::MAX;

/// One register.
#[derive(Debug)]
pub struct Register {
    /// Its name, which is its config's.
    pub name: String,
    tried: AtomicU64,
    acknowledged: AtomicU64,
}

impl Register {
    /// A register that is about to be created with the number 0.
    pub fn new(name: String) -> Self {
        Self { name, tried: AtomicU64::new(0), acknowledged: AtomicU64::new(NOTHING) }
    }

    /// Notes that `number` is about to be written.
    pub fn trying(&self, number: u64) {
        self.tried.store(number, Ordering::SeqCst);
    }

    /// Notes that the last number tried was acknowledged.
    pub fn acknowledge(&self) {
        self.acknowledged.store(self.tried.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// The highest number that was acknowledged.
    pub fn acknowledged(&self) -> Option<u64> {
        Some(self.acknowledged.load(Ordering::SeqCst)).filter(|number| *number != NOTHING)
    }

    /// Checks what a read saw that began when `floor` was acknowledged.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn check(&self, seen: Option<u64>, floor: Option<u64>) -> Result<(), String> {
        let tried = self.tried.load(Ordering::SeqCst);
        let name = &self.name;
        match (seen, floor) {
            (None, None) => Ok(()),
            (None, Some(floor)) => Err(format!("{name} is gone, {floor} was acknowledged")),
            (Some(seen), Some(floor)) if seen < floor => {
                Err(format!("{name} is {seen}, {floor} was acknowledged"))
            }
            (Some(seen), _) if seen > tried => {
                Err(format!("{name} is {seen}, only {tried} was ever written"))
            }
            (Some(_), _) => Ok(()),
        }
    }
}

/// The number in a register's config.
///
/// # Errors
/// When it holds something else.
pub fn number(config: &Config) -> Result<u64> {
    let text = std::str::from_utf8(config.spec.data.as_slice())?;
    text.trim_end().parse().with_context(|| format!("\"{text}\" is not a number"))
}

/// All registers of a run.
#[derive(Debug, Clone, Default)]
pub struct Registers(Arc<Mutex<Vec<Arc<Register>>>>);

impl Registers {
    /// A new register.
    pub fn add(&self, name: String) -> Arc<Register> {
        let register = Arc::new(Register::new(name));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(register.clone());
        register
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Register>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_and_invented_numbers_are_found() {
        let register = Register::new("r".to_owned());
        assert!(register.check(None, register.acknowledged()).is_ok(), "maybe never created");
        register.acknowledge();
        assert!(register.check(None, register.acknowledged()).is_err(), "lost");
        register.trying(1);
        assert!(register.check(Some(0), register.acknowledged()).is_ok());
        assert!(register.check(Some(1), register.acknowledged()).is_ok(), "open");
        register.acknowledge();
        assert!(register.check(Some(0), register.acknowledged()).is_err(), "went back");
        assert!(register.check(Some(2), register.acknowledged()).is_err(), "never written");
    }
}
