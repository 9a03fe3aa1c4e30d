//! What is in a backup, and what is refused.

use std::collections::BTreeMap;

use swarm_model::cluster::ClusterSpec;
use swarm_model::command::{Actor, Command, NewNode, Op};
use swarm_model::node::{Availability, NodeSpec, Role};
use swarm_net::ca::{ClusterSecret, Root};

use super::*;

fn sample() -> (Machine, ManagerKeys) {
    let id = ClusterId::from_raw(5);
    let op = Op::InitCluster {
        id,
        spec: ClusterSpec::default(),
        ca_certificate: Vec::new(),
        node: NewNode {
            id: NodeId::from_raw(1),
            spec: NodeSpec {
                role: Role::Manager,
                availability: Availability::Active,
                labels: BTreeMap::new(),
            },
            description: Default::default(),
            addr: "127.0.0.1:2377".to_owned(),
            token: None,
        },
    };
    let mut machine = Machine::new();
    let command = Command {
        request: None,
        at: Timestamp::default(),
        actor: Actor::default(),
        op,
        if_revision: None,
    };
    machine.apply(Revision(3), Term(1), &command).0.expect("the first command");
    let root = Root::create(id, Timestamp::default()).expect("a CA");
    (machine, ManagerKeys { root, secret: ClusterSecret::from_bytes([7; 32]) })
}

fn archive() -> Vec<u8> {
    let (machine, keys) = sample();
    let facts = Facts { node: NodeId::from_raw(1), at: Timestamp::from_millis(1000), stale: false };
    make(&machine, Position { index: 4, term: 2 }, &keys, &facts).expect("small")
}

#[test]
fn what_was_backed_up_is_read_back() {
    let (machine, keys) = sample();
    let backup = read(&archive()).expect("just made");
    assert_eq!(backup.machine.view(), machine.view());
    assert_eq!(backup.keys.secret.expose(), keys.secret.expose());
    let manifest = backup.manifest;
    assert_eq!((manifest.revision, manifest.index, manifest.term), (Revision(3), 4, Term(2)));
    assert_eq!((manifest.epoch, manifest.nodes, manifest.stale), (1, 1, false));
}

#[test]
fn golden_form_of_the_manifest() {
    let part = Part { name: "state".to_owned(), length: 2, sha256: sha256(b"ab") };
    let manifest = Manifest {
        format: 1,
        program: "0.1.0".to_owned(),
        cluster_id: ClusterId::from_raw(5),
        node_id: NodeId::from_raw(1),
        epoch: 1,
        revision: Revision(3),
        index: 4,
        term: Term(2),
        created_at: Timestamp::from_millis(1000),
        stale: false,
        services: 0,
        nodes: 1,
        parts: vec![part],
    };
    let bytes = pack(&manifest, &[b"ab"]);
    let (cluster, node) = (manifest.cluster_id, manifest.node_id);
    let at = serde_json::to_string(&manifest.created_at).expect("json");
    let text = format!(
        r#"{{"Format":1,"Program":"0.1.0","ClusterID":"{cluster}","NodeID":"{node}","Epoch":1,"Revision":3,"Index":4,"Term":2,"CreatedAt":{at},"Stale":false,"Services":0,"Nodes":1,"Parts":[{{"Name":"state","Length":2,"Sha256":"fb8e20fc2e4c3f248c60c39bd652f3c1347298bb977b8b4d5903b85055620603"}}]}}"#
    );
    let length = u32::try_from(text.len()).expect("small");
    assert_eq!(bytes, [&length.to_le_bytes()[..], text.as_bytes(), b"ab"].concat());
}

#[test]
fn every_flipped_byte_of_a_part_is_found() {
    let archive = archive();
    let (_, parts) = read_manifest(&archive).expect("whole");
    let begin = archive.len() - parts.len();
    for at in (begin..archive.len()).step_by(7) {
        let mut bytes = archive.clone();
        bytes[at] ^= 1;
        assert!(matches!(read(&bytes), Err(BackupError::Altered { .. })), "{at}");
    }
    assert!(matches!(read(&archive[..archive.len() - 1]), Err(BackupError::Altered { .. })));
    assert!(matches!(read(&[]), Err(BackupError::Altered { .. })));
}

#[test]
fn a_newer_manifest_is_named_whatever_its_fields() {
    let text = br#"{"Format":2,"Surprise":true}"#;
    let length = u32::try_from(text.len()).expect("small");
    let bytes = [&length.to_le_bytes()[..], text].concat();
    assert_eq!(read(&bytes).err(), Some(BackupError::Newer { found: 2, known: 1 }));
}

#[test]
fn numbers_that_no_cluster_reaches_are_refused() {
    let (machine, keys) = sample();
    let facts = Facts { node: NodeId::from_raw(1), at: Timestamp::from_millis(1000), stale: false };
    let far = u64::MAX;
    for (index, term, revision) in [(far, 2, 3), (4, far, 3), (4, 2, far)] {
        let mut machine = machine.clone();
        if revision > 3 {
            machine.advance(Revision(revision));
        }
        let archive = make(&machine, Position { index, term }, &keys, &facts).expect("small");
        let refused = read(&archive).map(drop).expect_err("not a cluster's");
        assert!(matches!(refused, BackupError::Altered { .. }), "{refused}");
    }
}
