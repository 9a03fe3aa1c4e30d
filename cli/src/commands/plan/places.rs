//! What nodes are called where some share a host name: then the id tells.

use std::collections::{BTreeMap, BTreeSet};

use swarm_model::id::NodeId;
use swarm_node::api::types::Place;

/// The nodes that one table is about.
#[derive(Debug)]
pub(crate) struct Places<'a>(BTreeMap<&'a str, BTreeSet<NodeId>>);

impl<'a> Places<'a> {
    pub(crate) fn new(all: impl Iterator<Item = &'a Place>) -> Self {
        let mut places: BTreeMap<&str, BTreeSet<NodeId>> = BTreeMap::new();
        for place in all {
            places.entry(&place.hostname).or_default().insert(place.id);
        }
        Self(places)
    }

    /// What to call `place`.
    pub(crate) fn name(&self, place: &Place) -> String {
        let shared = self.0.get(place.hostname.as_str()).is_some_and(|ids| ids.len() > 1);
        match place.hostname.as_str() {
            "" => place.id.short(),
            hostname if shared => format!("{hostname} ({})", place.id.short()),
            hostname => hostname.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_host_name_is_told_apart_by_the_id() {
        let place = |raw: u128, hostname: &str| Place {
            id: NodeId::from_raw(raw << 64),
            hostname: hostname.to_owned(),
        };
        let all = [place(1, "a"), place(2, "a"), place(3, "b"), place(4, "")];
        let places = Places::new(all.iter());
        assert_eq!(places.name(&all[0]), format!("a ({})", all[0].id.short()));
        assert_eq!(places.name(&all[2]), "b");
        assert_eq!(places.name(&all[3]), all[3].id.short());
    }
}
