//! House rules that a machine can check. ARCHITECTURE.md tells why they are; style that the compiler or
//! clippy can see is checked there, not here.

mod documents;
mod examples;
mod manifests;
mod sources;
mod tree;

/// Fails with all findings at once.
fn expect_none(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}:\n  {}", findings.join("\n  "));
}
