//! Where tasks go, and what is said when they go nowhere.

use std::collections::BTreeMap;
use std::time::Duration;

use swarm_model::id::ServiceId;
use swarm_model::node::{Availability, Reachability};
use swarm_model::placement::Preference;
use swarm_model::task::TaskTemplate;

use crate::explain;
use crate::testing::{Cluster, OFFERED_MEMORY, spec, template};

fn spread(attributes: &[&str]) -> TaskTemplate {
    let mut template = template("ok");
    let preference = |name: &&str| format!("spread={name}").parse::<Preference>();
    template.placement.preferences =
        attributes.iter().map(preference).collect::<Result<_, _>>().expect("they are valid");
    template
}

fn by_label(cluster: &Cluster, service: ServiceId, key: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for task in cluster.running(service) {
        let node = &cluster.view().nodes[&task.node.expect("it runs")];
        *counts.entry(node.spec.labels[key].clone()).or_default() += 1;
    }
    counts
}

#[test]
fn zones_are_filled_evenly_however_many_nodes_they_have() {
    let mut cluster = Cluster::new(5);
    // Zone z0 has nodes 0, 2, 4; zone z1 has 1 and 3.
    let web = cluster.create(spec("web", Some(12), spread(&["node.labels.zone"])));
    cluster.settle();
    assert_eq!(
        by_label(&cluster, web, "zone"),
        BTreeMap::from([("z0".into(), 6), ("z1".into(), 6)])
    );
    assert!(cluster.nodes.iter().step_by(2).all(|node| cluster.running_on(web, *node) == 2));
}

#[test]
fn preferences_nest() {
    let mut cluster = Cluster::new(6);
    let racks = ["a", "a", "a", "b", "b", "b"];
    for (node, rack) in cluster.nodes.clone().into_iter().zip(racks) {
        cluster.update_node(node, |spec| {
            spec.labels.insert("rack".into(), rack.into());
        });
    }
    let nested = spread(&["node.labels.zone", "node.labels.rack"]);
    let web = cluster.create(spec("web", Some(8), nested));
    cluster.settle();
    assert_eq!(
        by_label(&cluster, web, "zone"),
        BTreeMap::from([("z0".into(), 4), ("z1".into(), 4)])
    );
    assert_eq!(by_label(&cluster, web, "rack"), BTreeMap::from([("a".into(), 4), ("b".into(), 4)]));
}

#[test]
fn small_services_do_not_all_go_to_the_first_zone() {
    let mut cluster = Cluster::new(4);
    for number in 0..8 {
        let zoned = spread(&["node.labels.zone"]);
        cluster.create(spec(&format!("s{number}"), Some(1), zoned));
    }
    cluster.settle();
    for node in &cluster.nodes {
        assert_eq!(cluster.view().tasks_on(*node).count(), 2);
    }
}

#[test]
fn memory_is_never_promised_twice_and_waiting_tasks_take_what_comes_free() {
    let mut cluster = Cluster::new(2);
    let mut heavy = template("ok");
    heavy.resources.reservations.memory.0 = OFFERED_MEMORY.0 / 2;
    let web = cluster.create(spec("web", Some(5), heavy.clone()));
    cluster.settle();
    assert_eq!(cluster.running(web).len(), 4);
    let other = cluster.create(spec("other", Some(1), heavy));
    cluster.settle();
    cluster.scale(web, 3);
    cluster.settle();
    assert_eq!((cluster.running(web).len(), cluster.running(other).len()), (3, 1));
}

#[test]
fn a_bound_per_node_holds() {
    let mut cluster = Cluster::new(2);
    let mut bound = template("ok");
    bound.placement.max_replicas_per_node = 2;
    let web = cluster.create(spec("web", Some(5), bound));
    cluster.settle();
    assert_eq!(cluster.running(web).len(), 4);
    let waiting = cluster.active(web).into_iter().find(|task| task.node.is_none());
    assert_eq!(
        waiting.expect("one waits").status.error,
        "no suitable node (2 nodes: has 2 tasks of this service, at most 2 allowed)"
    );
    cluster.add_node();
    cluster.settle();
    assert_eq!(cluster.running(web).len(), 5);
}

#[test]
fn a_refusal_counts_the_nodes_by_reason() {
    let mut cluster = Cluster::new(6);
    let nodes = cluster.nodes.clone();
    cluster.reach(nodes[0], Reachability::Down);
    cluster.update_node(nodes[1], |spec| spec.availability = Availability::Pause);
    cluster.drain(nodes[2]);
    let mut picky = template("ok");
    picky.resources.reservations.memory.0 = OFFERED_MEMORY.0 * 64;
    picky.placement.constraints = vec!["node.labels.zone!=z1".parse().expect("it is valid")];
    let web = cluster.create(spec("web", Some(1), picky));
    cluster.round();
    assert_eq!(
        cluster.active(web)[0].status.error,
        "no suitable node (2 nodes: constraint node.labels.zone!=z1 not met; 1 node: down; \
         1 node: paused; 1 node: drained; 1 node: insufficient memory, needs 64KiB, has 1KiB free)"
    );
}

#[test]
fn a_reason_is_said_anew_when_it_changes_but_not_all_the_time() {
    let mut cluster = Cluster::new(2);
    let mut picky = template("ok");
    picky.placement.constraints = vec!["node.labels.disk==ssd".parse().expect("it is valid")];
    let web = cluster.create(spec("web", Some(1), picky));
    cluster.settle();
    let said = cluster.now;
    cluster.drain(cluster.nodes[0]);
    assert_eq!(cluster.round().changes, []);
    assert_eq!(cluster.wake_at, Some(said.after(Duration::from_secs(5))));
    cluster.settle();
    assert_eq!(
        cluster.active(web)[0].status.error,
        "no suitable node (1 node: drained; 1 node: constraint node.labels.disk==ssd not met)"
    );
}

#[test]
fn an_empty_cluster_says_so() {
    let view = swarm_model::view::View::default();
    assert_eq!(
        explain(&view, ServiceId::from_raw(1), swarm_model::units::Timestamp::default()),
        None
    );
}

#[test]
fn explain_tells_all_refusals_and_ranks_the_rest_as_placing_does() {
    let mut cluster = Cluster::new(4);
    let web = cluster.create(spec("web", Some(3), spread(&["node.labels.zone"])));
    cluster.settle();
    cluster.update_node(cluster.nodes[3], |spec| {
        spec.availability = Availability::Pause;
    });
    let told = explain(cluster.view(), web, cluster.now).expect("it exists");
    assert_eq!(told.refusal, "");
    let last = told.nodes.last().expect("four nodes");
    assert_eq!(
        (last.node, last.refusals.as_slice()),
        (cluster.nodes[3], ["paused".to_owned()].as_slice())
    );
    let first = told.nodes[0].node;
    cluster.scale(web, 4);
    let before = cluster.running_on(web, first);
    cluster.settle();
    assert_eq!(cluster.running_on(web, first), before + 1);
}
