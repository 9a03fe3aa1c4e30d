//! Every scripted scenario of the simulation holds, and goes one way in two surroundings;
//! `SWARM_SIM_SEEDS=N` tries N seeds each instead of one.

use std::process::Command;

use swarm_chaos::sim::scenarios;

fn seeds(usual: u64) -> u64 {
    let asked = std::env::var("SWARM_SIM_SEEDS").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(usual)
}

/// Runs `fuzz` with `args` and gives what it prints.
fn fuzz(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_fuzz")).args(args).output();
    let output = output.expect("the program was built beside this test");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "fuzz {args:?} failed:\n{text}");
    text
}

#[test]
fn every_scripted_scenario_holds() {
    let list = fuzz(&["--list"]);
    let all: Vec<_> = scenarios::ALL.iter().map(|it| it.name).collect();
    assert_eq!(list.lines().collect::<Vec<_>>(), all, "scenarios are missing");
    let seeds = seeds(1).to_string();
    for scenario in list.lines() {
        println!("{scenario}");
        fuzz(&["--scenario", scenario, "--seeds", &seeds, "--twice"]);
    }
}
