//! Which table an error is about, and what that means for the node: what is lost together, what the
//! node can go on without, and what only a new start or more space can mend.

use std::fmt;

/// A table on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Table {
    /// The Raft log.
    Log,
    /// The vote and the marks of the log: one file.
    Votes,
    /// The snapshots.
    Snapshots,
    /// The agent's records of its tasks.
    Agent,
}

/// What an error means for the node as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Harm {
    /// What Raft owns (log, vote, marks, snapshots) is lost, as one thing: a node without it may
    /// neither vote nor answer until the others have taken it in anew.
    Replica,
    /// The agent's table is lost. The replica is whole; tasks are known to the leader and to the
    /// runtime.
    Agent,
    /// The disk fails now: nothing that was not durable before counts, and this life of the node
    /// is over. A new start finds out what is there.
    Disk,
    /// The disk is full: the same may be tried again when there is space.
    Full,
    /// None of these: a mistake of the caller's, another owner, an unknown format.
    Nothing,
}

impl Table {
    /// What its loss means.
    pub fn harm(self) -> Harm {
        match self {
            Self::Log | Self::Votes | Self::Snapshots => Harm::Replica,
            Self::Agent => Harm::Agent,
        }
    }

    /// What comes next, for a person.
    pub(super) fn advice(self) -> &'static str {
        match self {
            Self::Log | Self::Votes | Self::Snapshots => {
                "nothing was changed. A node whose peers hold the state gets it again from them; a \
                 node alone needs a backup"
            }
            Self::Agent => "nothing was changed. The leader sends this node its assignments again",
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Log => "the log",
            Self::Votes => "the vote and the log's marks",
            Self::Snapshots => "the snapshots",
            Self::Agent => "the agent's table",
        })
    }
}
