//! Known mistakes of systems like this one, planted so that the test suite can show that it finds
//! them: `chaos-tests/mistakes` runs it against each.
//!
//! Without the feature `mistakes`, which nothing but that script turns on, none of them is compiled
//! in, and a build without debug assertions refuses the feature. Each place is a call of
//! [`planted`]; what is wrong then is said here.

#[cfg(all(feature = "mistakes", not(debug_assertions)))]
compile_error!("the feature `mistakes` breaks the program on purpose: it is for tests alone");

/// A mistake that can be planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mistake {
    /// Records are acknowledged without a sync.
    SkipSync,
    /// A vote is given before it is on disk, where it never gets.
    ForgetVote,
    /// The mark of how far the log is durable is never saved.
    LoseHighWater,
    /// A leader answers before a majority has the command.
    AnswerBeforeCommit,
    /// Campaigns begin without asking who would follow.
    NoPreVote,
    /// Linearizable reads show whatever the local replica holds.
    ServeReadsLocally,
    /// A leader does not make sure that it still leads before it answers a read.
    ReadWithoutQuorum,
    /// A retried request is applied again.
    ApplyRetryTwice,
    /// A snapshot leaves out which requests were answered.
    ForgetRequests,
    /// The id of a removed node may join again.
    ReuseNodeId,
    /// Which nodes were removed is not kept.
    DropTombstones,
    /// Who calls is what the body says.
    TrustBody,
    /// A plan of a deposed leader is applied.
    TakeStalePlan,
    /// A plan's changes are made to objects that have moved on.
    IgnoreVersion,
    /// A slot that a plan did not see filled is filled again.
    FillSlotTwice,
    /// A success of a job's task that is reported again counts again, for another slot.
    CountTwice,
    /// A time of a schedule that was decided on is decided on again.
    FireTwice,
    /// A node may report of tasks of others.
    TrustForeignStatus,
    /// An older status replaces a newer one.
    StatusGoesBack,
    /// An agent obeys a deposed leader.
    ForgetGeneration,
    /// An agent does not keep what it was assigned.
    ForgetAssignments,
    /// An agent lets run what its leader does not name any more.
    KeepUnnamed,
}

impl Mistake {
    /// All of them, with the names by which they are chosen.
    pub const ALL: [(&'static str, Self); 22] = [
        ("skip-sync", Self::SkipSync),
        ("forget-vote", Self::ForgetVote),
        ("lose-high-water", Self::LoseHighWater),
        ("answer-before-commit", Self::AnswerBeforeCommit),
        ("no-pre-vote", Self::NoPreVote),
        ("serve-reads-locally", Self::ServeReadsLocally),
        ("read-without-quorum", Self::ReadWithoutQuorum),
        ("apply-retry-twice", Self::ApplyRetryTwice),
        ("forget-requests", Self::ForgetRequests),
        ("reuse-node-id", Self::ReuseNodeId),
        ("drop-tombstones", Self::DropTombstones),
        ("trust-body", Self::TrustBody),
        ("take-stale-plan", Self::TakeStalePlan),
        ("ignore-version", Self::IgnoreVersion),
        ("fill-slot-twice", Self::FillSlotTwice),
        ("count-twice", Self::CountTwice),
        ("fire-twice", Self::FireTwice),
        ("trust-foreign-status", Self::TrustForeignStatus),
        ("status-goes-back", Self::StatusGoesBack),
        ("forget-generation", Self::ForgetGeneration),
        ("forget-assignments", Self::ForgetAssignments),
        ("keep-unnamed", Self::KeepUnnamed),
    ];
}

/// Whether this mistake is to be made: when the environment's `SWARM_MISTAKE` names it.
#[cfg(feature = "mistakes")]
pub fn planted(mistake: Mistake) -> bool {
    static CHOSEN: std::sync::OnceLock<Option<Mistake>> = std::sync::OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| {
        let name = std::env::var("SWARM_MISTAKE").ok()?;
        let found = Mistake::ALL.into_iter().find(|(known, _)| *known == name);
        Some(found.expect("SWARM_MISTAKE names a mistake").1)
    });
    *chosen == Some(mistake)
}

/// Never: the feature `mistakes` is off.
#[cfg(not(feature = "mistakes"))]
#[inline]
pub const fn planted(_mistake: Mistake) -> bool {
    false
}
