//! What constraints and preferences read as, and which nodes meet them.

use super::*;

#[test]
fn constraints_read_and_print_the_same() {
    for text in [
        "node.id==abc",
        "node.labels.zone!=a",
        "engine.labels.gpu==yes",
        "node.ip==127.0.0.1",
        "node.labels.zone in a,b",
        "node.labels.cores>4",
        "node.labels.cores<=4.5",
        "node.labels.a>b==c",
    ] {
        assert_eq!(text.parse::<Constraint>().map(|c| c.to_string()), Ok(text.to_owned()));
    }
    assert_eq!(
        "node.role == manager".parse::<Constraint>().map(|c| c.to_string()),
        Ok("node.role==manager".into())
    );
}

#[test]
fn bad_constraints_say_why() {
    let error = |text: &str| text.parse::<Constraint>().expect_err(text);
    assert!(matches!(error("node.id=abc"), ParsePlacementError::NoOperator(_)));
    assert!(matches!(error("color==red"), ParsePlacementError::UnknownAttribute(_)));
    assert!(matches!(error("node.labels.==a"), ParsePlacementError::UnknownAttribute(_)));
    assert!(matches!(error("node.id=="), ParsePlacementError::NoValue(_)));
    assert!(matches!(error("node.labels.zone in (,)"), ParsePlacementError::NoValue(_)));
    assert!(matches!(error("node.labels.cores>many"), ParsePlacementError::NotANumber(_)));
    assert!(matches!(error("node.labels.cores>"), ParsePlacementError::NotANumber(_)));
}

/// A node at 10.1.2.3 in zone A with 8 cores.
fn node() -> Node {
    let labels = [("zone", "A"), ("cores", "8")];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    Node {
        id: crate::id::NodeId::from_raw(1),
        meta: Default::default(),
        spec: crate::node::NodeSpec {
            role: crate::node::Role::Worker,
            availability: Default::default(),
            labels: labels.into(),
        },
        description: Default::default(),
        status: crate::node::NodeStatus { addr: "10.1.2.3:2377".to_owned(), ..Default::default() },
        drain: None,
    }
}

#[test]
fn a_constraint_compares_words_lists_numbers_and_networks() {
    let check = |text: &str, expect: bool| {
        let constraint: Constraint = text.parse().expect(text);
        assert_eq!(constraint.allows(&node()), expect, "{text}");
    };
    check("node.labels.zone==a", true);
    check("node.labels.zone!=a", false);
    check("node.labels.none!=a", true);
    check("node.labels.zone in (b, a)", true);
    check("node.labels.zone in b,c", false);
    check("node.labels.none in a", false);
    check("node.labels.cores > 7.5", true);
    check("node.labels.cores>8", false);
    check("node.labels.cores>=8", true);
    check("node.labels.cores < 8", false);
    check("node.labels.cores<=8", true);
    check("node.labels.zone>1", false);
    check("node.labels.none>1", false);
    check("node.ip==10.0.0.0/8", true);
    check("node.ip!=10.0.0.0/8", false);
    check("node.ip in 192.168.0.0/16,10.1.2.0/24", true);
    check("node.ip==10.1.2.4/32", false);
    check("node.ip==0.0.0.0/0", true);
    check("node.ip==10.0.0.0/99", false);
}

#[test]
fn preferences_read_and_print_the_same() {
    for text in [
        "spread=node.labels.zone",
        "binpack",
        "affinity=service:web:10",
        "anti-affinity=service:web:100",
        "affinity=node.labels.disk==ssd:7",
        "anti-affinity=node.labels.cores<4:1",
    ] {
        assert_eq!(text.parse::<Preference>().map(|p| p.to_string()), Ok(text.to_owned()));
    }
    let plain = "affinity=service:web".parse::<Preference>().map(|p| p.to_string());
    assert_eq!(plain, Ok("affinity=service:web:50".to_owned()));
}

#[test]
fn bad_preferences_say_why() {
    let error = |text: &str| text.parse::<Preference>().expect_err(text);
    assert!(matches!(error("random"), ParsePlacementError::UnknownStrategy(_)));
    assert!(matches!(error("binpack=yes"), ParsePlacementError::UnknownStrategy(_)));
    assert!(matches!(error("affinity=service:web:0"), ParsePlacementError::Weight(_)));
    assert!(matches!(error("affinity=service:web:101"), ParsePlacementError::Weight(_)));
    assert!(matches!(error("anti-affinity=service:web:-5"), ParsePlacementError::Weight(_)));
    assert!(matches!(error("affinity=service:-:5"), ParsePlacementError::NoService(_)));
    assert!(matches!(error("affinity=web"), ParsePlacementError::NoOperator(_)));
    assert!(matches!(error("spread=zone"), ParsePlacementError::UnknownAttribute(_)));
}
