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

#[test]
fn addresses_and_odd_weights_are_not_taken_for_what_they_are_not() {
    let read = |text: &str| text.parse::<Preference>().map(|p| p.to_string());
    let error = |text: &str| text.parse::<Preference>().expect_err(text);
    for text in ["affinity=node.ip==fe80::1", "anti-affinity=node.ip!=fe80::1:50"] {
        assert!(matches!(error(text), ParsePlacementError::Ambiguous(_)), "{text}");
    }
    assert!(matches!(error("affinity=node.labels.a==x:1.5"), ParsePlacementError::Weight(_)));
    assert!(matches!(error("affinity=node.labels.a==x: five"), ParsePlacementError::Weight(_)));
    assert!(matches!(error("affinity=service:web:+"), ParsePlacementError::Weight(_)));
    let network = read("affinity=node.ip==fe80::1/128");
    assert_eq!(network, Ok("affinity=node.ip==fe80::1/128:50".to_owned()));
    let network = read("affinity=node.ip==fe80::/10:7");
    assert_eq!(network, Ok("affinity=node.ip==fe80::/10:7".to_owned()));
    assert_eq!(read("affinity=node.ip==10.0.0.0/8:7"), Ok("affinity=node.ip==10.0.0.0/8:7".into()));
}

#[test]
fn a_list_in_more_than_one_pair_of_parentheses_is_refused() {
    for list in ["((a))", "( (a,b) )", "(a),(b)", "a,(b", "(a", "b)"] {
        for text in [format!("node.id in {list}"), format!("node.labels.a in {list}")] {
            let error = text.parse::<Constraint>().expect_err(&text);
            assert!(matches!(error, ParsePlacementError::Parentheses(_)), "{text}");
        }
        assert!(format!("affinity=node.id in {list}:5").parse::<Preference>().is_err(), "{list}");
    }
}

#[test]
fn networks_are_new_words_and_of_addresses_only() {
    let constraint = |text: &str| text.parse::<Constraint>().expect(text);
    assert!(constraint("node.ip==10.0.0.0/8").is_new_word());
    assert!(constraint("node.ip!=fe80::/10").is_new_word());
    assert!(!constraint("node.ip==10.0.0.1").is_new_word());
    assert!(!constraint("node.ip==10.0.0.0/99").is_new_word());
    assert!(!constraint("node.labels.net==10.0.0.0/8").is_new_word());
    let mut node = node();
    node.spec.labels.insert("net".to_owned(), "10.1.2.3".to_owned());
    assert!(!constraint("node.labels.net==10.0.0.0/8").allows(&node));
    assert!(constraint("node.labels.net!=10.0.0.0/8").allows(&node));
}

#[test]
fn words_that_read_as_numbers_are_none() {
    let mut node = node();
    for word in ["inf", "nan", "-infinity"] {
        node.spec.labels.insert("cores".to_owned(), word.to_owned());
        for text in ["node.labels.cores>1", "node.labels.cores<1"] {
            let constraint: Constraint = text.parse().expect(text);
            assert!(!constraint.allows(&node), "{text} of {word}");
        }
    }
}

/// Texts of the pieces that rules are made of.
fn text() -> impl proptest::strategy::Strategy<Value = String> {
    use proptest::prelude::*;
    let pieces = [
        "node.id",
        "node.ip",
        "node.labels.a",
        "==",
        "!=",
        " in ",
        ">",
        "<=",
        "(",
        ")",
        ",",
        " ",
        "a",
        "7",
        "1.5",
        ":",
        ":5",
        "::1",
        "fe80::1",
        "/10",
        "10.0.0.0/8",
        "service:",
        "=",
        "-",
    ];
    let kind = prop::sample::select(vec!["", "affinity=", "anti-affinity=", "spread="]);
    let rule = prop::sample::select(vec!["", "node.ip==", "node.labels.a<"]);
    let rest = prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..7);
    let list = prop::collection::vec(prop::sample::select(vec!["(", ")", "a", ","]), 0..7);
    prop_oneof![
        (kind, rule, rest).prop_map(|(kind, rule, rest)| format!("{kind}{rule}{}", rest.concat())),
        list.prop_map(|list| format!("node.id in {}", list.concat())),
    ]
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig {
        cases: 20_000,
        failure_persistence: None,
        ..Default::default()
    })]

    /// State is stored as this text: a replica that reads it must hold, and write, what the others do.
    #[test]
    fn what_is_written_is_read_and_written_the_same(text in text()) {
        if let Ok(constraint) = text.parse::<Constraint>() {
            let written = constraint.to_string();
            let again = written.parse::<Constraint>().map(|it| it.to_string());
            proptest::prop_assert_eq!(again, Ok(written));
        }
        if let Ok(preference) = text.parse::<Preference>() {
            let written = preference.to_string();
            let again = written.parse::<Preference>().map(|it| it.to_string());
            proptest::prop_assert_eq!(again, Ok(written));
        }
    }
}
