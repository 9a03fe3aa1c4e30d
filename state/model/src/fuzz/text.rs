//! The decoders of this crate: the small languages that people write.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use super::Target;
use crate::id::NodeId;
use crate::name::Name;
use crate::node::{Availability, Role};
use crate::placement::{Constraint, NodeAttribute, Preference};
use crate::restart::{Reschedule, RestartCondition};
use crate::runtime::Signal;
use crate::template::{self, Context};
use crate::units::{Bytes, MilliCpu, Timestamp};

/// The decoders of this crate.
pub const TARGETS: &[Target] = &[
    Target::new("model.id", same::<NodeId>, || texts(&["0000000000000000000000001", ID])),
    Target::new("model.name", same::<Name>, || texts(&["web", "web-1.a_b"])),
    Target::new("model.constraint", same::<Constraint>, || {
        texts(&["node.labels.zone==a", "engine.labels.gpu != yes", "node.ip==10.0.0.1"])
    }),
    Target::new("model.preference", same::<Preference>, || texts(&["spread=node.labels.zone"])),
    Target::new("model.attribute", same::<NodeAttribute>, || {
        texts(&["node.id", "node.platform.os", "node.labels.zone"])
    }),
    Target::new("model.signal", same::<Signal>, || texts(&["SIGTERM", "kill", "15"])),
    Target::new("model.word", words, || texts(&["worker", "drain", "on-failure", "never"])),
    Target::new("model.template", expand, || {
        texts(&["{{.Service.Name}}-{{ .Task.Slot }}", "a{{.Node.Labels.zone}}b", "plain"])
    }),
    Target::new("model.time", time, || {
        texts(&["2026-01-31T12:00:00.123Z", "1970-01-01T01:00:10+01:00", "9999-12-31T23:59:59Z"])
    }),
    Target::new("model.number", number, || vec![u64::MAX.to_le_bytes().to_vec(), vec![0; 8]]),
];

const ID: &str = "f5lxx1zz5pnorynqglhzmsp33";

/// Samples of text.
pub(super) fn texts(samples: &[&str]) -> Vec<Vec<u8>> {
    samples.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Reads a text, and what it prints as, as the same.
fn same<T: FromStr + Display + PartialEq>(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(value) = text.parse::<T>() else { return false };
    let printed = value.to_string();
    assert!(printed.parse().ok() == Some(value), "{text:?} reads as {printed:?}, which does not");
    true
}

fn words(bytes: &[u8]) -> bool {
    same::<Role>(bytes)
        | same::<Availability>(bytes)
        | same::<RestartCondition>(bytes)
        | std::str::from_utf8(bytes).is_ok_and(|text| text.parse::<Reschedule>().is_ok())
}

fn expand(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let labels = BTreeMap::from([("zone".to_owned(), "a".to_owned())]);
    let context = Context { node_labels: labels, ..Context::default() };
    let expanded = template::expand(text, &context);
    assert_eq!(template::check(text).is_ok(), expanded.is_ok(), "{text:?}");
    expanded.is_ok()
}

fn time(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(at) = Timestamp::parse_rfc3339(text) else { return false };
    assert_eq!(Timestamp::parse_rfc3339(&at.to_string()), Ok(at), "{text:?}");
    true
}

/// Every number that a peer may send has a printed form.
fn number(bytes: &[u8]) -> bool {
    let Some(raw) = bytes.first_chunk().map(|chunk| u64::from_le_bytes(*chunk)) else {
        return false;
    };
    let at = Timestamp::from_millis(raw);
    let printed = [at.to_string(), Bytes(raw).to_string(), MilliCpu(raw).to_string()];
    printed.iter().all(|text| !text.is_empty())
}
