//! The files of this repository, read once per test. Build output and hidden folders are left out.

use std::fs;
use std::path::{Path, PathBuf};

/// A text file of the repository.
pub(crate) struct Text {
    /// Relative to the repository's root, with slashes.
    pub(crate) path: String,
    /// Its content.
    pub(crate) content: String,
}

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("the crate lies in the workspace").to_owned()
}

/// All text files whose names end in one of `endings`.
pub(crate) fn files(endings: &[&str]) -> Vec<Text> {
    let mut found = Vec::new();
    walk(&root(), &root(), endings, &mut found);
    assert!(!found.is_empty(), "no file ends in {endings:?}");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn walk(root: &Path, dir: &Path, endings: &[&str], found: &mut Vec<Text>) {
    let entries = fs::read_dir(dir).expect("the folder can be read");
    for entry in entries {
        let path = entry.expect("the folder can be read").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            let skipped = name == "target" || (name.starts_with('.') && name != ".ci");
            if !skipped {
                walk(root, &path, endings, found);
            }
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            let content = fs::read_to_string(&path).expect("a text file");
            let path = path.strip_prefix(root).expect("below the root");
            found.push(Text { path: path.to_string_lossy().replace('\\', "/"), content });
        }
    }
}

impl Text {
    /// Whether the file serves tests, examples or benchmarks only.
    pub(crate) fn is_test(&self) -> bool {
        let parts: Vec<&str> = self.path.split('/').collect();
        let (name, folders) = parts.split_last().expect("a path has a last part");
        self.path.starts_with("chaos-tests/")
            || folders.iter().any(|folder| ["tests", "examples", "benches"].contains(folder))
            || name.ends_with("tests.rs")
            || ["testing.rs", "conformance.rs", "bench.rs"].contains(name)
    }

    /// The lines before the unit tests, with their numbers.
    pub(crate) fn production_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines: Vec<&str> = self.content.lines().collect();
        let tests = lines
            .windows(2)
            .position(|pair| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod tests {"));
        let end = tests.unwrap_or(lines.len());
        lines.into_iter().take(end).enumerate().map(|(index, line)| (index + 1, line))
    }

    /// The production lines without comments.
    pub(crate) fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.production_lines().map(|(number, line)| {
            let code = if line.trim_start().starts_with("//") { "" } else { line };
            (number, code.split(" // ").next().unwrap_or(code))
        })
    }

    /// `path:line`, as editors understand it.
    pub(crate) fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.path)
    }
}

/// Whether `word` stands in `text` by itself, not as a part of a longer word.
pub(crate) fn has_word(text: &str, word: &str) -> bool {
    let inside = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back().is_some_and(inside);
        let after = text[at + word.len()..].chars().next().is_some_and(inside);
        let starts = word.starts_with(inside);
        let ends = word.ends_with(inside);
        !(before && starts || after && ends)
    })
}

#[test]
fn words_are_found_whole() {
    assert!(has_word("use quinn::Endpoint;", "quinn::"));
    assert!(!has_word("use my_quinn::Endpoint;", "quinn::"));
    assert!(has_word("pub async fn run()", "async"));
    assert!(!has_word("let asynchronous = 1;", "async"));
}
