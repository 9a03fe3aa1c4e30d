//! Every call that one node may make to another, and the rule of each: lane, shape and callers.
//!
//! A method is listed here or does not exist. A call may reach the handler twice (it is sent again when
//! the peer turns out to have restarted), so each must bear being repeated.

/// A connection of its own per lane, so that Raft never waits behind anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Nodes that have no certificate yet.
    Join,
    /// Commands, reads, sessions, logs.
    Rpc,
    /// Consensus.
    Raft,
    /// Liveness and status: datagrams, and push/pull.
    Gossip,
}

impl Lane {
    /// All lanes.
    pub const ALL: [Self; 4] = [Self::Join, Self::Rpc, Self::Raft, Self::Gossip];

    /// The protocol name in the TLS handshake (ALPN).
    pub const fn protocol(self) -> &'static [u8] {
        match self {
            Self::Join => b"swarm/join/1",
            Self::Rpc => b"swarm/rpc/1",
            Self::Raft => b"swarm/raft/1",
            Self::Gossip => b"swarm/gossip/1",
        }
    }

    /// The lane that a TLS handshake agreed on.
    pub fn from_protocol(protocol: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|lane| lane.protocol() == protocol)
    }
}

/// The shape of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// One request, one answer.
    Unary,
    /// A hello, then messages both ways.
    Stream,
}

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Callers {
    /// Anyone, without a certificate.
    Anonymous,
    /// Any node of this cluster that was not removed.
    Member,
    /// Managers only.
    Manager,
}

/// What holds for one method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rule {
    /// The lane that carries it; on any other it is refused.
    pub lane: Lane,
    /// Its shape.
    pub kind: Kind,
    /// Who may call it.
    pub callers: Callers,
}

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $lane:ident $kind:ident $callers:ident;)*) => {
        /// One call between nodes. The numbers are the wire format: never reuse one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Method {$(
            $(#[$doc])*
            $name = $number,
        )*}

        impl Method {
            /// All methods.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// What holds for this method.
            pub const fn rule(self) -> Rule {
                match self {$(
                    Self::$name => Rule {
                        lane: Lane::$lane, kind: Kind::$kind, callers: Callers::$callers,
                    },
                )*}
            }

            /// The number on the wire.
            pub const fn number(self) -> u8 {
                self as u8
            }

            /// The method with this number on the wire, if this build knows it.
            pub const fn from_number(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

methods! {
    /// A new node shows its token and gets a certificate.
    Join = 1, Join Unary Anonymous;
    /// The leader says that it leads.
    RaftHeartbeat = 10, Raft Unary Member;
    /// A candidate asks for a vote.
    RaftVote = 11, Raft Unary Member;
    /// A candidate asks whether it would get a vote.
    RaftPreVote = 12, Raft Unary Member;
    /// The leader asks the caller's choice to take over.
    RaftTransferLeader = 13, Raft Unary Member;
    /// Pipelined appends and their answers.
    RaftAppend = 14, Raft Stream Member;
    /// A snapshot in chunks.
    RaftSnapshot = 15, Raft Stream Member;
    /// A command for the leader.
    Propose = 20, Rpc Unary Member;
    /// The revision that a linearizable read needs.
    ReadIndex = 21, Rpc Unary Member;
    /// An agent's session with the leader: assignments down, statuses up.
    Session = 22, Rpc Stream Member;
    /// Log lines of tasks on the callee.
    TaskLogs = 23, Rpc Stream Member;
    /// The keys that managers share: the CA and the cluster secret.
    ManagerKeys = 24, Rpc Unary Manager;
    /// A new certificate for the caller.
    RenewCertificate = 25, Rpc Unary Member;
    /// The caller leaves the cluster.
    Leave = 26, Rpc Unary Member;
    /// What the callee knows about itself.
    NodeStatus = 27, Rpc Unary Member;
    /// The caller lost its replica: it is taken out of the consensus group, to be fed anew.
    Readmit = 28, Rpc Unary Member;
    /// The caller has just started: what the callee remembers of its earlier lives.
    Greet = 29, Rpc Unary Member;
    /// What time it is at the callee.
    Clock = 30, Rpc Unary Member;
    /// The caller runs one more program in a task of the callee.
    Exec = 31, Rpc Stream Manager;
    /// The caller copies files out of or into a task of the callee.
    Files = 32, Rpc Stream Manager;
    /// What the processes of tasks of the callee use.
    TaskTop = 33, Rpc Unary Manager;
    /// A connection to a port that a task of the callee listens on.
    Forward = 34, Rpc Stream Manager;
    /// Gossip's push/pull of everything.
    GossipSync = 40, Gossip Unary Member;
}

impl Method {
    /// The longest body of a request, or hello of a stream, in bytes: more is refused before it is read.
    pub const fn longest_request(self) -> usize {
        match self {
            // A command of 2 MiB, with who asks.
            Self::Propose => (2 << 20) + LITTLE,
            // What every node says, in parts of 512 KiB, with the heads of some thousand nodes.
            Self::GossipSync => 2 << 20,
            // A program with all of its arguments and variables.
            Self::Exec => 512 << 10,
            // The ids of all tasks of a node; of all members.
            Self::TaskLogs | Self::TaskTop | Self::RaftSnapshot => 1 << 20,
            // Votes, certificate requests, what a node says of itself.
            _ => LITTLE,
        }
    }
}

/// Bytes of a request that has no reason to be long.
const LITTLE: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_methods_map_one_to_one() {
        for &method in Method::ALL {
            assert_eq!(Method::from_number(method.number()), Some(method));
        }
        let known = (0..=u8::MAX).filter(|number| Method::from_number(*number).is_some()).count();
        assert_eq!(known, Method::ALL.len());
    }

    #[test]
    fn only_join_is_open_to_strangers_and_alone_on_its_lane() {
        for method in Method::ALL {
            let rule = method.rule();
            assert_eq!(rule.callers == Callers::Anonymous, *method == Method::Join);
            assert_eq!(rule.lane == Lane::Join, *method == Method::Join);
        }
        let managers =
            [Method::ManagerKeys, Method::Exec, Method::Files, Method::TaskTop, Method::Forward];
        for method in Method::ALL {
            let only = method.rule().callers == Callers::Manager;
            assert_eq!(only, managers.contains(method), "{method:?}");
        }
    }

    #[test]
    fn lanes_are_known_by_their_protocol() {
        for lane in Lane::ALL {
            assert_eq!(Lane::from_protocol(lane.protocol()), Some(lane));
        }
        assert_eq!(Lane::from_protocol(b"h3"), None);
    }
}
