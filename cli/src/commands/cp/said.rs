//! What the task's end of a copy says of it.

use swarm_node::chunk::Ended;

use crate::exit::Failure;
use crate::output;

/// Bytes that are kept: more is no sentence for a person.
const SAID_MAX: usize = 64 << 10;

/// What it has said up to now.
#[derive(Debug, Default)]
pub(super) struct Said(Vec<u8>);

impl Said {
    /// It goes on.
    pub(super) fn hear(&mut self, text: &[u8]) {
        let room = SAID_MAX - self.0.len();
        self.0.extend_from_slice(&text[..text.len().min(room)]);
    }

    /// What follows from that and how it ended.
    ///
    /// # Errors
    /// What could not be copied.
    pub(super) fn verdict(&self, ended: &Ended) -> Result<(), Failure> {
        let said = String::from_utf8_lossy(&self.0);
        let said = said.trim_end();
        if ended.code == 0 {
            said.lines().for_each(output::warning);
            return Ok(());
        }
        let silent = || format!("the copy ended with exit code {} in the task", ended.code);
        Err(Failure::failed(match (said, ended.message.as_str()) {
            ("", "") => silent(),
            ("", message) => message.to_owned(),
            (said, _) => said.to_owned(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_failed_says_why_however_much_it_says() {
        let check = |said: &str, code: u8, message: &str, want: Option<&str>| {
            let mut all = Said::default();
            said.as_bytes().chunks(7).for_each(|part| all.hear(part));
            let verdict = all.verdict(&Ended { code, message: message.to_owned() });
            assert_eq!(verdict.err().map(|it| it.message).as_deref(), want);
        };
        check("", 0, "", None);
        check("a is a socket and was left out\n", 0, "", None);
        check("größer: no such file\n", 1, "", Some("größer: no such file"));
        check("", 137, "the task ended", Some("the task ended"));
        check("", 101, "", Some("the copy ended with exit code 101 in the task"));
        check(&"x".repeat(1 << 20), 1, "", Some(&*"x".repeat(SAID_MAX)));
    }
}
