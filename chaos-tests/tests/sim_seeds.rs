//! Random faults under random load: nothing acknowledged is lost, everything converges, and a seed
//! replays exactly. `SWARM_SIM_SEEDS=N` runs N seeds instead of the usual few; `.ci/run` runs
//! hundreds of an optimised build, where one costs a tenth.

use std::process::Command;

/// Seeds of a usual test run.
const USUAL: u64 = 20;
/// What a fair run has at least, all seeds together and per seed: less proves nothing.
const LEAST_PER_SEED: [(&str, u64); 5] = [
    ("load: writes acknowledged", 40),
    ("check: equal states", 100),
    ("check: linearizable reads", 5),
    ("check: leaders of terms", 2),
    ("check: writes of the final log", 20),
];
/// What must have happened over all seeds: faults, and what the log alone can tell.
const HAPPENED: [&str; 8] = [
    "fault: daemon killed",
    "fault: power cut",
    "fault: partition",
    "fault: one-way cut",
    "fault: task crashed",
    "fault: links changed",
    "check: unanswered writes found in the log",
    "check: unanswered writes that never were",
];

fn fuzz(args: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_fuzz")).args(args).output();
    let output = output.expect("the program was built beside this test");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn counted(text: &str, what: &str) -> u64 {
    let line = text.lines().rev().find(|line| line.trim_start().ends_with(what));
    let count = line.and_then(|line| line.split_whitespace().next());
    count.and_then(|count| count.parse().ok()).unwrap_or(0)
}

#[test]
fn random_faults_break_no_invariant() {
    let asked = std::env::var("SWARM_SIM_SEEDS").ok().and_then(|text| text.parse().ok());
    let seeds: u64 = asked.unwrap_or(USUAL);
    let (held, text) = fuzz(&["--seeds", &seeds.to_string()]);
    println!("{text}");
    assert!(held, "a seed failed; replay it as said above");
    for (what, least) in LEAST_PER_SEED {
        let count = counted(&text, what);
        assert!(count >= least * seeds, "{count} times \"{what}\" are too few to prove anything");
    }
    for what in HAPPENED.iter().filter(|_| seeds >= USUAL) {
        assert!(counted(&text, what) > 0, "\"{what}\" never happened: the run proves nothing");
    }
}

/// The second run lies elsewhere, in a larger environment, at other addresses and under another load.
#[test]
fn one_seed_gives_one_trace_wherever_it_runs() {
    let (held, text) = fuzz(&["--from", "1000", "--seeds", "5", "--twice"]);
    assert!(held, "{text}");
}
