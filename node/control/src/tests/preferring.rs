//! What services may prefer, what else is counted, and large clusters: by example.

use swarm_model::id::NodeId;
use swarm_model::node::Node;

use crate::testing::{Cluster, OFFERED_MEMORY, spec, template};

fn preferring(text: &str) -> swarm_model::task::TaskTemplate {
    let mut template = template("ok");
    template.placement.preferences.extend(text.parse().ok());
    assert_eq!(template.placement.preferences.len(), 1, "{text}");
    template
}

/// How many nodes have tasks of `service`.
fn nodes_used(cluster: &Cluster, service: swarm_model::id::ServiceId) -> usize {
    cluster.nodes.iter().filter(|node| cluster.running_on(service, **node) > 0).count()
}

#[test]
fn packed_tasks_take_as_few_nodes_as_they_fit_on() {
    let mut cluster = Cluster::new(5);
    let mut packed = preferring("binpack");
    packed.resources.reservations.memory.0 = OFFERED_MEMORY.0 / 4;
    let web = cluster.create(spec("web", Some(6), packed));
    cluster.settle();
    assert_eq!(nodes_used(&cluster, web), 2);
    cluster.scale(web, 8);
    cluster.settle();
    assert_eq!(nodes_used(&cluster, web), 2);
    cluster.scale(web, 9);
    cluster.settle();
    assert_eq!(nodes_used(&cluster, web), 3);
}

#[test]
fn tasks_go_beside_what_they_like_and_away_from_what_they_do_not() {
    let mut cluster = Cluster::new(4);
    let db = cluster.create(spec("db", Some(1), template("ok")));
    cluster.settle();
    let home = cluster.running(db)[0].node.expect("it runs");
    let near = cluster.create(spec("near", Some(3), preferring("affinity=service:db:10")));
    let far = cluster.create(spec("far", Some(5), preferring("anti-affinity=service:db:10")));
    cluster.settle();
    assert_eq!(cluster.running_on(near, home), 3);
    assert_eq!(cluster.running_on(far, home), 0);
    let zone = cluster.create(spec("zone", Some(4), preferring("affinity=node.labels.zone==z1:1")));
    cluster.settle();
    let counts: Vec<_> = cluster.nodes.iter().map(|node| cluster.running_on(zone, *node)).collect();
    assert_eq!(counts, [0, 2, 0, 2], "evenly among the best");
}

#[test]
fn an_affinity_never_keeps_a_task_from_running() {
    let mut cluster = Cluster::new(2);
    let mut heavy = preferring("affinity=node.hostname==n0:100");
    heavy.resources.reservations.memory = OFFERED_MEMORY;
    let web = cluster.create(spec("web", Some(2), heavy));
    cluster.settle();
    assert_eq!(nodes_used(&cluster, web), 2);
}

#[test]
fn preferences_nest_in_the_order_in_which_they_are_written() {
    // Nodes 0, 2, 4 are in zone z0, nodes 1, 3 in z1; the rack is the node's own but for 4.
    let mut cluster = Cluster::new(5);
    for (at, rack) in ["a", "b", "c", "d", "c"].into_iter().enumerate() {
        let node = cluster.nodes[at];
        cluster.update_node(node, |spec| drop(spec.labels.insert("rack".into(), rack.into())));
    }
    let mut nested = preferring("spread=node.labels.zone");
    nested.placement.preferences.extend("spread=node.labels.rack".parse().ok());
    let web = cluster.create(spec("web", Some(8), nested));
    cluster.settle();
    let counts: Vec<_> = cluster.nodes.iter().map(|node| cluster.running_on(web, *node)).collect();
    assert_eq!(counts, [2, 2, 1, 2, 1]);
}

#[test]
fn devices_are_counted_and_their_lack_is_told() {
    let mut cluster = Cluster::new(2);
    let mut seeing = template("ok");
    seeing.resources.reservations.generic.insert("device/camera".to_owned(), 1);
    let eye = cluster.create(spec("eye", Some(5), seeing));
    cluster.settle();
    assert_eq!(cluster.running(eye).len(), 4, "two cameras a node");
    let waiting = cluster.active(eye).into_iter().find(|task| task.node.is_none());
    assert_eq!(
        waiting.map(|task| task.status.error.as_str()),
        Some(
            "no suitable node (2 nodes: too few devices of class camera, needs 1, at most 0 free)"
        )
    );
    let mut none = template("ok");
    none.resources.reservations.generic.insert("licence".to_owned(), 1);
    let never = cluster.create(spec("never", Some(1), none));
    cluster.settle();
    assert_eq!(
        cluster.active(never)[0].status.error,
        "no suitable node (2 nodes: insufficient licence, needs 1, at most 0 free)"
    );
}

/// A cluster so large that a few tasks are placed among a sample of nodes.
fn large() -> Cluster {
    Cluster::new(1100)
}

#[test]
fn in_a_large_cluster_the_only_node_that_fits_is_found() {
    let mut cluster = large();
    for number in [7, 555, 1099] {
        let mut picky = template("ok");
        let rule = format!("node.hostname==n{number}");
        picky.placement.constraints.extend(rule.parse().ok());
        let web = cluster.create(spec(&format!("web{number}"), Some(1), picky));
        cluster.round();
        assert_eq!(cluster.active(web)[0].node, Some(cluster.nodes[number]));
    }
}

#[test]
fn in_a_large_cluster_few_tasks_of_many_are_still_spread_evenly() {
    let mut cluster = large();
    let web = cluster.create(spec("web", Some(1000), template("ok")));
    cluster.settle_now();
    for count in [1005, 1010, 1099, 1100, 1103] {
        cluster.scale(web, count);
        cluster.settle_now();
        let counts = || cluster.nodes.iter().map(|node: &NodeId| cluster.running_on(web, *node));
        let (most, least) = (counts().max(), counts().min());
        assert!(most <= least.map(|least| least + 1), "{count}: {least:?} to {most:?}");
    }
    let unused = |node: &Node| cluster.running_on(web, node.id) == 0;
    assert!(!cluster.view().nodes.values().any(|node| unused(node)));
}
