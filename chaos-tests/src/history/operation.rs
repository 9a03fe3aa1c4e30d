//! A history as operations: every invocation with what became of it.

use std::collections::BTreeMap;

use super::{F, Kind, Record};

/// What became of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Answered then, in microseconds of the run.
    Ok {
        /// When the answer was there.
        at: u64,
        /// The revision it carried.
        revision: Option<u64>,
    },
    /// It did not happen.
    Failed,
    /// It may happen at any time after its invocation, or never.
    Unknown,
}

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Who asked.
    pub process: u32,
    /// What for.
    pub f: F,
    /// Of which register.
    pub key: String,
    /// Written, or read; none stands for a register that is not there.
    pub value: Option<u64>,
    /// When it was asked for, in microseconds of the run.
    pub invoked: u64,
    /// What became of it.
    pub outcome: Outcome,
}

/// All operations of a run, in the order of their invocations.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// The operations.
    pub operations: Vec<Operation>,
}

impl Operation {
    /// When it was answered; an operation without an answer is under way for ever.
    pub fn ended(&self) -> u64 {
        match self.outcome {
            Outcome::Ok { at, .. } => at,
            Outcome::Failed | Outcome::Unknown => u64::MAX,
        }
    }

    /// The revision its answer carried.
    pub fn revision(&self) -> Option<u64> {
        match self.outcome {
            Outcome::Ok { revision, .. } => revision,
            Outcome::Failed | Outcome::Unknown => None,
        }
    }
}

impl std::fmt::Display for Operation {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let verb = match self.f {
            F::Read => "read",
            F::Write => "write",
        };
        write!(to, "{verb} of {} by p{}: ", self.key, self.process)?;
        match self.value {
            Some(value) => write!(to, "{value}, {}..", self.invoked)?,
            None => write!(to, "nothing, {}..", self.invoked)?,
        }
        match self.outcome {
            Outcome::Ok { at, revision: Some(revision) } => write!(to, "{at} us at r{revision}"),
            Outcome::Ok { at, revision: None } => write!(to, "{at} us"),
            Outcome::Failed => to.write_str(" failed"),
            Outcome::Unknown => to.write_str(" unknown"),
        }
    }
}

impl History {
    /// Pairs invocations with what became of them.
    ///
    /// # Errors
    /// When the records are no history: what is wrong with them.
    pub fn new(records: &[Record]) -> Result<Self, String> {
        let mut order: Vec<&Record> = records.iter().collect();
        // In one microsecond: what begins was begun before anything ended, the careful reading.
        order.sort_by_key(|record| (record.t_us, record.kind != Kind::Invoke));
        let mut operations: Vec<Operation> = Vec::new();
        let mut under_way: BTreeMap<u32, usize> = BTreeMap::new();
        for record in order {
            let Record { t_us, process, kind, f, ref key, value, revision, .. } = *record;
            if kind == Kind::Invoke {
                if under_way.insert(process, operations.len()).is_some() {
                    return Err(format!("p{process} began two operations at once: {record:?}"));
                }
                let (key, invoked) = (key.clone(), t_us);
                let outcome = Outcome::Unknown;
                operations.push(Operation { process, f, key, value, invoked, outcome });
                continue;
            }
            let begun = under_way.remove(&process).map(|at| &mut operations[at]);
            let Some(operation) = begun.filter(|begun| begun.f == f && begun.key == *key) else {
                return Err(format!("p{process} ended what it never began: {record:?}"));
            };
            operation.outcome = match kind {
                Kind::Ok => Outcome::Ok { at: t_us, revision },
                Kind::Fail => Outcome::Failed,
                Kind::Unknown | Kind::Invoke => Outcome::Unknown,
            };
            if kind == Kind::Ok && f == F::Read {
                operation.value = value;
            }
        }
        Ok(Self { operations })
    }

    /// The operations of each register.
    pub fn by_key(&self) -> BTreeMap<&str, Vec<&Operation>> {
        let mut keys: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
        for operation in &self.operations {
            keys.entry(&operation.key).or_default().push(operation);
        }
        keys
    }
}
