//! The catalogue of faults on real clusters: each scenario with what it injects, its load, its checks
//! and its figure. Black box on the binary; `docs/reliability.md` says how to run it.

mod abuse;
mod ask;
mod disk;
mod elsewhere;
mod finish;
mod members;
mod needs;
mod network;
mod power;
mod process;
mod sheet;
mod soak;
mod stage;
mod tasks;
mod time;
mod verdict;
mod watch;

pub use ask::Ask;
pub use elsewhere::{OPEN, Place};
pub use needs::Need;
pub use sheet::{Figure, Sheet, percentile};
pub use soak::soak;
pub use stage::Stage;
pub use verdict::{Off, Verdict, invalid, skipped};
pub use watch::{Led, Watch, Watched};

use anyhow::Result;
use futures::future::LocalBoxFuture;

/// How a scenario is run.
#[derive(Debug, Clone, Copy)]
pub enum Run {
    /// On a real cluster.
    Real(fn(Ask) -> LocalBoxFuture<'static, Result<Sheet>>),
    /// Other tests inject it; which.
    Elsewhere(&'static [Place]),
}

/// An entry of the catalogue.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Its number in the catalogue.
    pub number: u8,
    /// Its name.
    pub name: &'static str,
    /// What happens.
    pub injects: &'static str,
    /// What must be reached, beside the checks of every run.
    pub figure: &'static str,
    /// What the machine must have.
    pub needs: &'static [Need],
    /// How it is run.
    pub run: Run,
}

/// The numbers that are asked for: 1 to this.
pub const ASKED: u8 = 64;

/// All scenarios, by their numbers.
pub fn all() -> Vec<Scenario> {
    let parts: [&[Scenario]; 9] = [
        &network::ALL,
        &process::ALL,
        &tasks::ALL,
        &power::ALL,
        &disk::ALL,
        &members::ALL,
        &time::ALL,
        &abuse::ALL,
        &elsewhere::ALL,
    ];
    let mut all = parts.concat();
    all.sort_by_key(|scenario| scenario.number);
    all
}

/// Runs a scenario.
pub async fn run(scenario: &Scenario, ask: Ask) -> (Verdict, Option<Sheet>) {
    let result = match scenario.run {
        Run::Elsewhere(places) => Err(skipped(format!("tested by {}", elsewhere::told(places)))),
        Run::Real(run) => match needs::check_all(scenario.needs, &ask) {
            Ok(()) => run(ask).await,
            Err(error) => Err(error),
        },
    };
    (Verdict::of(&result), result.ok())
}

/// The scenario of this name or number.
///
/// # Errors
/// That there is none, with the names that are near.
pub fn find(name: &str) -> Result<Scenario> {
    let all = all();
    if let Some(found) = all.iter().find(|it| it.name == name || it.number.to_string() == name) {
        return Ok(*found);
    }
    let mut near: Vec<_> = all.iter().map(|it| (distance(name, it.name), it.name)).collect();
    near.sort_unstable();
    let near: Vec<_> = near.iter().take(3).map(|(_, name)| *name).collect();
    anyhow::bail!("there is no scenario \"{name}\"; near it: {}; see `chaos list`", near.join(", "))
}

/// How far two names are apart: letters to change, unless one is a part of the other.
fn distance(a: &str, b: &str) -> usize {
    if !a.is_empty() && b.contains(a) {
        return 0;
    }
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut corner = i;
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let changed = corner + usize::from(from != *to);
            corner = row[j + 1];
            row[j + 1] = changed.min(corner + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_unique() {
        let all = all();
        for (index, one) in all.iter().enumerate() {
            for other in &all[index + 1..] {
                assert_ne!(one.name, other.name);
                assert_ne!(one.number, other.number, "{} and {}", one.name, other.name);
            }
        }
    }

    #[test]
    fn every_number_that_is_asked_for_is_an_entry_with_a_figure_or_said_to_be_open() {
        let all = all();
        for number in 1..=ASKED {
            let entry = all.iter().find(|it| it.number == number);
            let open = OPEN.iter().any(|(left, _why)| *left == number);
            assert!(entry.is_some() != open, "{number} is neither there nor open, or both");
            assert!(entry.is_none_or(|it| !it.figure.is_empty()), "{number} has no figure");
        }
        assert!(all.iter().all(|it| it.number <= ASKED));
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_names_near_it() {
        assert_eq!(find("leader-killed").expect("it is there").number, 17);
        assert_eq!(find("17").expect("by number").name, "leader-killed");
        let error = find("leader-kiled").expect_err("a slip").to_string();
        assert!(error.contains("near it: leader-killed"), "{error}");
        let error = find("paused").expect_err("no name, a part of one").to_string();
        assert!(error.contains("leader-paused"), "{error}");
    }
}
