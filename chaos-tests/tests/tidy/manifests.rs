//! Rules of the Cargo files: shared lints, versions in one place, known edges between crates.

use std::collections::BTreeSet;

use super::expect_none;
use super::tree::{Text, files, root};

/// Keys of a package that the workspace decides.
const SHARED: [&str; 5] = ["version", "edition", "rust-version", "license", "publish"];

/// Stands in for a crate of the registry, so it has that one's version.
const STAND_IN: &str = "raft/histogram/Cargo.toml";

/// The manifests of the workspace's members.
fn members() -> Vec<Text> {
    let mut all = files(&["Cargo.toml"]);
    all.retain(|file| file.path != "Cargo.toml");
    all
}

/// `name = value` pairs with the table that they stand in.
fn entries(file: &Text) -> Vec<(String, String, String)> {
    let mut table = String::new();
    let mut found = Vec::new();
    for line in file.content.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.clone_into(&mut table);
        } else if let Some((key, value)) = line.split_once('=') {
            found.push((table.clone(), key.trim().to_owned(), value.trim().to_owned()));
        }
    }
    found
}

fn is_dependency(table: &str) -> bool {
    ["dependencies", "dev-dependencies", "build-dependencies"].contains(&table)
}

/// `folder → folder`, as the production code of the members depends on each other.
fn edges() -> BTreeSet<String> {
    let crates: Vec<(String, String)> = members()
        .iter()
        .map(|file| {
            let name = entries(file)
                .into_iter()
                .find(|(table, key, _)| table == "package" && key == "name");
            let name = name.expect("a package has a name").2.trim_matches('"').to_owned();
            (name, file.path.trim_end_matches("/Cargo.toml").to_owned())
        })
        .collect();
    let folder = |dependency: &str| {
        crates.iter().find(|(name, _)| name == dependency).map(|(_, folder)| folder.clone())
    };
    let mut edges = BTreeSet::new();
    for file in members() {
        let from = file.path.trim_end_matches("/Cargo.toml").to_owned();
        for (table, key, _) in entries(&file) {
            let dependency = key.trim_end_matches(".workspace");
            if let Some(to) = folder(dependency).filter(|_| table == "dependencies") {
                edges.insert(format!("{from} → {to}"));
            }
        }
    }
    edges
}

#[test]
fn every_member_takes_the_workspace_s_lints_and_settings() {
    let mut findings = Vec::new();
    for file in members() {
        let entries = entries(&file);
        let has = |table: &str, key: &str| {
            entries.iter().any(|(t, k, v)| t == table && k == key && v == "true")
        };
        if !has("lints", "workspace") {
            findings.push(format!("{}: no `[lints] workspace = true`", file.path));
        }
        for key in SHARED {
            let own = key == "version" && file.path == STAND_IN;
            if !own && !has("package", &format!("{key}.workspace")) {
                findings.push(format!("{}: no `{key}.workspace = true`", file.path));
            }
        }
        for (table, key, value) in &entries {
            let shared = key.ends_with(".workspace") || value.contains("workspace = true");
            if is_dependency(table) && !shared {
                findings.push(format!("{}: {key} has a version of its own", file.path));
            }
        }
    }
    expect_none("manifests that go their own way", &findings);
}

#[test]
fn every_crate_is_a_member() {
    let workspace = std::fs::read_to_string(root().join("Cargo.toml")).expect("the root manifest");
    let missing: Vec<_> = members()
        .iter()
        .map(|file| file.path.trim_end_matches("/Cargo.toml").to_owned())
        .filter(|folder| !workspace.contains(&format!("\"{folder}\"")))
        .collect();
    expect_none("crates outside of the workspace", &missing);
}

#[test]
fn every_edge_between_crates_has_its_sentence() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let told: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("- `")?.split_once("`: "))
        .map(|(edge, _)| edge.to_owned())
        .filter(|edge| edge.contains(" → "))
        .collect();
    let real = edges();
    let untold = real.difference(&told).map(|edge| format!("{edge} is not in ARCHITECTURE.md"));
    let unreal = told.difference(&real).map(|edge| format!("{edge} is only in ARCHITECTURE.md"));
    expect_none("edges between crates", &untold.chain(unreal).collect::<Vec<_>>());
}

#[test]
fn every_dependency_has_its_reason() {
    let manifest = files(&["Cargo.toml"]).into_iter().find(|file| file.path == "Cargo.toml");
    let manifest = manifest.expect("the root manifest");
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let missing: Vec<_> = entries(&manifest)
        .into_iter()
        .filter(|(table, name, _)| table == "workspace.dependencies" && !name.starts_with("swarm-"))
        .map(|(_, name, _)| name)
        .filter(|name| !text.contains(&format!("`{name}`")))
        .collect();
    expect_none("dependencies that ARCHITECTURE.md does not explain", &missing);
}
