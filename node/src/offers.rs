//! What a node offers beside CPU and memory: kinds that are counted, and devices by their paths.
//!
//! The leader only counts; which device a task gets is the agent's business.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use swarm_model::resources::{DEVICE_PREFIX, Resources};
use swarm_model::service::SpecError;

/// The most devices of one class.
const PATHS_MAX: usize = 64;
/// The longest path of a device, in bytes.
const PATH_MAX: usize = 255;

/// Paths of devices, by class.
pub type Devices = BTreeMap<String, Vec<String>>;

/// What a node offers, or what changes of that: then 0 and no path take a kind away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Offers {
    /// How much of each kind that is only counted.
    #[serde(rename = "GenericResources")]
    pub generic: BTreeMap<String, u64>,
    /// The devices of each class, in the order in which they are handed out.
    pub devices: Devices,
}

impl Offers {
    /// With `changes` put in. What is said last of a class counts: its number or its paths.
    #[must_use]
    pub fn changed(&self, changes: &Self) -> Self {
        let mut next = self.clone();
        for (kind, count) in &changes.generic {
            if let Some(class) = kind.strip_prefix(DEVICE_PREFIX) {
                next.devices.remove(class);
            }
            next.generic.insert(kind.clone(), *count);
        }
        for (class, paths) in &changes.devices {
            if !changes.generic.contains_key(&kind_of(class)) {
                next.generic.remove(&kind_of(class));
            }
            next.devices.insert(class.clone(), paths.clone());
        }
        next.generic.retain(|_, count| *count > 0);
        next.devices.retain(|_, paths| !paths.is_empty());
        next
    }

    /// How much of each kind that is, for the leader.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        let devices = self.devices.iter();
        let devices = devices.map(|(class, paths)| (kind_of(class), paths.len() as u64));
        self.generic.clone().into_iter().chain(devices).collect()
    }

    /// Checks what the types cannot.
    ///
    /// # Errors
    /// For too many kinds, a name that is none, a class that is counted in two ways, and a path that
    /// is none or stands in it twice.
    pub fn validate(&self) -> Result<(), SpecError> {
        let invalid = |reason| Err(SpecError::new("Devices", reason));
        let mut seen = BTreeSet::new();
        for (class, paths) in &self.devices {
            if self.generic.contains_key(&kind_of(class)) {
                let kind = kind_of(class);
                return invalid(format!("{kind} is counted by its paths: give no number of it"));
            }
            if paths.is_empty() || paths.len() > PATHS_MAX {
                return invalid(format!("class {class} needs 1 to {PATHS_MAX} paths"));
            }
            for path in paths {
                check(path).or_else(&invalid)?;
                if !seen.insert(path) {
                    return invalid(format!("{path} is there twice"));
                }
            }
        }
        let resources = Resources { generic: self.counts(), ..Resources::default() };
        resources.validate("GenericResources")
    }
}

/// What a class of devices is called among the generic resources.
fn kind_of(class: &str) -> String {
    format!("{DEVICE_PREFIX}{class}")
}

/// Refuses what is no path, or could not be told from two of them.
fn check(path: &str) -> Result<(), String> {
    let plain = !path.contains(|c: char| c == ',' || c.is_control());
    match path.starts_with('/') && plain && path.len() <= PATH_MAX {
        true => Ok(()),
        false => Err(format!(
            "\"{}\" is not the path of a device: it begins with /, has no comma, and at most \
             {PATH_MAX} bytes",
            path.escape_debug()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offers(generic: &[(&str, u64)], devices: &[(&str, &[&str])]) -> Offers {
        let texts = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
        Offers {
            generic: generic.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect(),
            devices: devices.iter().map(|(class, it)| ((*class).to_owned(), texts(it))).collect(),
        }
    }

    #[test]
    fn devices_are_counted_by_their_paths() {
        let both = offers(&[("licence", 2)], &[("camera", &["/dev/video0", "/dev/video1"])]);
        assert_eq!(both.validate(), Ok(()));
        assert_eq!(both.counts(), offers(&[("device/camera", 2), ("licence", 2)], &[]).generic);
    }

    #[test]
    fn what_is_said_last_of_a_class_counts() {
        let (counted, listed) =
            (offers(&[("device/camera", 2)], &[]), offers(&[], &[("camera", &["/dev/video0"])]));
        assert_eq!(counted.changed(&listed), listed);
        assert_eq!(listed.changed(&counted), counted);
        assert_eq!(listed.changed(&offers(&[], &[("camera", &[])])), Offers::default());
        assert_eq!(listed.changed(&offers(&[("device/camera", 0)], &[])), Offers::default());
        assert_eq!(listed.changed(&offers(&[("licence", 0)], &[])), listed);
        let more = offers(&[], &[("camera", &["/dev/video1", "/dev/video0"])]);
        assert_eq!(listed.changed(&more), more);
        let twofold = offers(
            &counted.generic.iter().map(|(k, n)| (k.as_str(), *n)).collect::<Vec<_>>(),
            &[("camera", &["/dev/video0"])],
        );
        assert!(Offers::default().changed(&twofold).validate().is_err());
    }

    #[test]
    fn what_is_no_device_is_refused_with_a_reason() {
        for (bad, expected) in [
            (offers(&[], &[("camera", &["video0"])]), "begins with /"),
            (offers(&[], &[("camera", &["/dev/a,b"])]), "no comma"),
            (offers(&[], &[("camera", &["/dev/a\n"])]), r"/dev/a\n"),
            (offers(&[], &[("camera", &[])]), "class camera needs 1"),
            (offers(&[], &[("camera", &["/dev/a", "/dev/a"])]), "/dev/a is there twice"),
            (offers(&[], &[("a", &["/dev/a"]), ("b", &["/dev/a"])]), "/dev/a is there twice"),
            (offers(&[], &[("a b", &["/dev/a"])]), "\"device/a b\" is not a generic resource"),
            (offers(&[("device/a", 1)], &[("a", &["/dev/a"])]), "device/a is counted by its paths"),
        ] {
            let error = bad.validate().expect_err(expected).to_string();
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }
}
