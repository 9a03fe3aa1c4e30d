//! Rules of the Rust files: size, first words, and which crate may use which technology.

use super::expect_none;
use super::tree::{Text, files, has_word};

/// Lines of a production file. Aim for 150.
const LINES_MAX: usize = 500;
/// Columns of a comment or a string; rustfmt sees to the code.
const COLUMNS_MAX: usize = 115;

/// Technologies with one owner: the words that show their use, and the folders that may have them.
const OWNED: [(&[&str], &[&str]); 12] = [
    (&["openraft::", "openraft_rt_tokio::"], &["raft/"]),
    (&["quinn::", "quinn_proto::", "rustls::", "rcgen::", "x509_parser::"], &["net/src/"]),
    (&["foca::"], &["net/src/gossip/"]),
    // The benchmark still compares with it; nothing else may use it.
    (&["sled::"], &["state/examples/"]),
    (&["bincode::"], &["state/src/codec.rs", "net/src/frame.rs"]),
    (&["axum::"], &["node/src/api/", "node/tests/"]),
    (&["libc::"], &["node/src/runtime/"]),
    // The fuzzer replaces the system's randomness, the decoders' driver counts memory; no other
    // program of ours may.
    (
        &["unsafe {", "unsafe fn", "unsafe impl"],
        &[
            "node/src/runtime/process/",
            "chaos-tests/src/bin/fuzz/",
            "chaos-tests/src/decoders/meter.rs",
        ],
    ),
    (
        &["std::process::Command", "process::Command::", "tokio::process::"],
        &["node/src/runtime/", "cli/src/hosting/"],
    ),
    (&["clap::", "indicatif::", "comfy_table::"], &["cli/", "chaos-tests/"]),
    (&["println!", "print!", "eprintln!", "eprint!"], &["cli/src/"]),
    (&["tokio::spawn", "JoinSet::new"], &["net/src/task.rs"]),
];

/// What tests, examples and benchmarks may do as well: print, start processes, spawn.
const FREE_IN_TESTS: [&str; 3] = ["println!", "std::process::Command", "tokio::spawn"];

/// Folders without async, clock, randomness, I/O and maps of random order.
const PURE: [&str; 3] = ["state/model/src/", "node/control/src/", "state/src/machine/"];
const IMPURE: [&str; 14] = [
    "async",
    "await",
    "tokio::",
    "HashMap",
    "HashSet",
    "Instant",
    "SystemTime",
    "rand::",
    "std::fs",
    "std::io",
    "std::net",
    "std::env",
    "std::thread",
    "std::process",
];

/// What is not finished, or was left behind: named here to be refused, and nowhere else.
const UNFINISHED: [&str; 4] = ["todo!", "unimplemented!", "dbg!", "#[ignore"];

fn find(words: &[&str], file: &Text, findings: &mut Vec<String>) {
    for (number, line) in file.code_lines() {
        if let Some(word) = words.iter().find(|word| has_word(line, word)) {
            findings.push(format!("{} uses {word}", file.at(number)));
        }
    }
}

#[test]
fn every_file_says_first_what_it_is_for() {
    let silent = |file: &Text| !file.content.starts_with("//! ");
    let findings: Vec<_> =
        files(&[".rs"]).into_iter().filter(silent).map(|file| file.path).collect();
    expect_none("files that do not begin with `//! `", &findings);
}

#[test]
fn files_stay_readable() {
    let mut findings = Vec::new();
    for file in files(&[".rs"]) {
        let lines = file.production_lines().count();
        if lines > LINES_MAX && !file.is_test() {
            findings.push(format!("{}: {lines} lines are over {LINES_MAX}: split it", file.path));
        }
        for (number, line) in file.production_lines() {
            let columns = line.chars().count();
            if columns > COLUMNS_MAX && !line.contains("https://") && !file.is_test() {
                findings.push(format!("{}: {columns} columns", file.at(number)));
            }
        }
    }
    expect_none("files over their bounds", &findings);
}

#[test]
fn every_technology_has_one_owner() {
    let mut findings = Vec::new();
    for file in files(&[".rs"]) {
        if file.path.starts_with("chaos-tests/tests/tidy/") {
            continue;
        }
        for (words, owners) in OWNED {
            let owned = owners.iter().any(|owner| file.path.starts_with(owner));
            let free = file.is_test() && FREE_IN_TESTS.iter().any(|word| words.contains(word));
            if !owned && !free {
                find(words, &file, &mut findings);
            }
        }
    }
    expect_none("uses outside of their owner, see ARCHITECTURE.md", &findings);
}

#[test]
fn decisions_and_state_are_pure() {
    let mut findings = Vec::new();
    for file in files(&[".rs"]) {
        if PURE.iter().any(|folder| file.path.starts_with(folder)) {
            find(&IMPURE, &file, &mut findings);
        }
    }
    expect_none("impure code in the model, the state machine or control", &findings);
}

#[test]
fn nothing_is_left_unfinished_or_silenced() {
    let mut findings = Vec::new();
    for file in files(&[".rs"]) {
        if file.path.starts_with("chaos-tests/tests/tidy/") {
            continue;
        }
        for (index, line) in file.content.lines().enumerate() {
            let words = UNFINISHED.iter().chain(&["#[allow(", "#![allow("]);
            for word in words.filter(|word| line.contains(**word)) {
                findings.push(format!("{} has {word}", file.at(index + 1)));
            }
        }
    }
    expect_none("unfinished code, ignored tests, or `allow` where `expect` belongs", &findings);
}
