//! Rules of the documents: links and file names in them are real, nothing tells of one machine.

use super::expect_none;
use super::tree::{Text, files, root};

/// The beginnings of paths that exist on one machine only; put together so as not to find themselves.
const MACHINE: [&str; 3] = [concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/ho", "me/")];
/// The code's folders: what begins like this in a document is a path of the repository.
const FOLDERS: [&str; 9] =
    ["state/", "raft/", "net/", "node/", "cli/", "chaos-tests/", "docs/", "examples/", ".ci/"];

/// Texts between single backticks, outside of code blocks.
fn quoted(file: &Text) -> Vec<(usize, String)> {
    let mut fenced = false;
    let mut found = Vec::new();
    for (index, line) in file.content.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            let parts = line.split('`').skip(1).step_by(2);
            found.extend(parts.map(|part| (index + 1, part.to_owned())));
        }
    }
    found
}

/// Targets of `[text](target)`.
fn links(file: &Text) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (index, line) in file.content.lines().enumerate() {
        for (at, _) in line.match_indices("](") {
            let target = line[at + 2..].split(')').next().unwrap_or_default();
            found.push((index + 1, target.to_owned()));
        }
    }
    found
}

#[test]
fn links_lead_somewhere() {
    let mut findings = Vec::new();
    for file in files(&[".md"]) {
        let folder = root().join(&file.path).parent().expect("a file is in a folder").to_owned();
        for (line, target) in links(&file) {
            let path = target.split('#').next().unwrap_or_default();
            if !path.is_empty() && !path.contains("://") && !folder.join(path).exists() {
                findings.push(format!("{} leads to {target}", file.at(line)));
            }
        }
    }
    expect_none("links that lead nowhere", &findings);
}

#[test]
fn files_that_documents_name_exist() {
    let mut findings = Vec::new();
    for file in files(&[".md"]) {
        for (line, text) in quoted(&file) {
            let is_path = FOLDERS.iter().any(|folder| text.starts_with(folder))
                && text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
            if is_path && !root().join(&text).exists() {
                findings.push(format!("{} names {text}", file.at(line)));
            }
        }
    }
    expect_none("files that do not exist", &findings);
}

#[test]
fn every_document_is_in_the_index() {
    let index = std::fs::read_to_string(root().join("docs/README.md")).expect("the index");
    let missing: Vec<_> = files(&[".md"])
        .into_iter()
        .filter_map(|file| file.path.strip_prefix("docs/").map(str::to_owned))
        .filter(|path| path != "README.md" && !index.contains(&format!("({path})")))
        .collect();
    expect_none("documents that docs/README.md does not list", &missing);
}

#[test]
fn nothing_tells_of_one_machine() {
    let mut findings = Vec::new();
    for file in files(&[".rs", ".md", ".toml", ".json", "run"]) {
        for (index, line) in file.content.lines().enumerate() {
            if let Some(path) = MACHINE.iter().find(|path| line.contains(**path)) {
                findings.push(format!("{} has {path}", file.at(index + 1)));
            }
        }
    }
    expect_none("paths of one machine", &findings);
}
