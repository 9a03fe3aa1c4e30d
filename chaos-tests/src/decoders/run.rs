//! One target: many cases by seed, on a small stack, each watched for panics, memory and time.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use swarm_model::fuzz::Target;
use tokio::time::Instant;

use super::meter::measure;
use super::mutate::{Random, mutant};
use super::{corpus, targets};

/// Stack of the thread that decodes: a fraction of what the program's threads have.
pub const STACK: usize = 512 << 10;
/// Memory that an input of any length may cost: serde takes up to 1 MiB for a sequence whose length is only
/// claimed, one at each depth.
const BASE: usize = 4 << 20;
/// Bytes of memory for each byte of input: a sequence of empty texts is 24 of one, and grows by doubling.
const FACTOR: usize = 128;
/// Inputs from here on tell what a byte costs.
const LONG: usize = 16 << 10;
/// A case that takes longer is a finding.
const PATIENCE: Duration = Duration::from_secs(2);
/// Inputs that are changed further.
const POOL: usize = 256;
/// Taken inputs longer than this are not changed further.
const POOLED: usize = 4096;

/// What an input did that it must not.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The target.
    pub target: &'static str,
    /// Its input.
    pub input: Vec<u8>,
    /// The panic's message, or what was too much.
    pub what: String,
}

/// What became of a target's cases.
#[derive(Debug, Clone)]
pub struct Report {
    /// Cases run.
    pub cases: u64,
    /// Of them taken as valid.
    pub taken: u64,
    /// What went wrong; the first ten.
    pub findings: Vec<Finding>,
    /// The most memory that a case held, and its input's length.
    pub memory: (usize, usize),
    /// The most memory by byte of input, of inputs long enough for that to say something.
    pub ratio: usize,
    /// The longest case.
    pub slowest: Duration,
    /// All of it.
    pub took: Duration,
    /// Some inputs that were taken and are no samples.
    pub kept: Vec<Vec<u8>>,
}

/// Feeds one input: whether it was taken, and the memory it held.
///
/// # Errors
/// What it did that it must not.
pub fn feed(target: &Target, input: &[u8]) -> Result<(bool, usize), String> {
    let begun = Instant::now();
    let (taken, held) = measure(|| catch_unwind(AssertUnwindSafe(|| (target.feed)(input))));
    let taken = taken.map_err(|panic| format!("panicked: {}", message(&*panic)))?;
    let most = BASE + FACTOR * input.len();
    if held > most {
        return Err(format!("{held} bytes of memory for {} of input", input.len()));
    }
    let took = begun.elapsed();
    if took > PATIENCE {
        return Err(format!("{took:?} for {} bytes of input", input.len()));
    }
    Ok((taken, held))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message").to_owned()
}

/// Runs `cases` of `target`, the same for the same `seed`.
///
/// # Panics
/// When there is no thread to be had.
pub fn run(target: &Target, cases: u64, seed: u64) -> Report {
    let target = *target;
    // A stack that overflows ends the process and names the thread.
    let thread = std::thread::Builder::new().name(target.name.to_owned()).stack_size(STACK);
    let running = thread.spawn(move || many(&target, cases, seed)).expect("a thread");
    running.join().expect("panics are caught inside")
}

fn many(target: &Target, cases: u64, seed: u64) -> Report {
    let begun = Instant::now();
    let place = targets().iter().position(|other| other.name == target.name).unwrap_or(0);
    let place = u64::try_from(place).unwrap_or(0);
    let mut random = Random::new(seed.wrapping_mul(0x1000).wrapping_add(place));
    let mut pool = (target.samples)();
    pool.extend(corpus::found(target.name));
    let firm = pool.len();
    let mut report = Report {
        cases,
        taken: 0,
        findings: Vec::new(),
        memory: (0, 0),
        ratio: 0,
        slowest: Duration::ZERO,
        took: Duration::ZERO,
        kept: Vec::new(),
    };
    for case in 0..cases {
        // The samples themselves first.
        let sample = usize::try_from(case).ok().filter(|at| *at < firm).map(|at| pool[at].clone());
        let input = sample.unwrap_or_else(|| mutant(&mut random, &pool));
        let at = Instant::now();
        match feed(target, &input) {
            Ok((taken, held)) => {
                report.note(&input, taken, held);
                if taken && input.len() <= POOLED && case >= u64::try_from(firm).unwrap_or(0) {
                    if pool.len() < POOL {
                        pool.push(input);
                    } else if random.below(8) == 0 && firm < POOL {
                        let place = firm + random.below(POOL - firm);
                        pool[place] = input;
                    }
                }
            }
            Err(what) if report.findings.len() < 10 => {
                report.findings.push(Finding { target: target.name, input, what });
            }
            Err(_more_of_it) => {}
        }
        report.slowest = report.slowest.max(at.elapsed());
    }
    report.kept = pool.split_off(firm);
    report.took = begun.elapsed();
    report
}

impl Report {
    fn note(&mut self, input: &[u8], taken: bool, held: usize) {
        self.taken += u64::from(taken);
        if held > self.memory.0 {
            self.memory = (held, input.len());
        }
        if input.len() >= LONG {
            self.ratio = self.ratio.max(held.div_ceil(input.len()));
        }
    }
}
