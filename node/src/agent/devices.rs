//! Which of this node's devices a task gets, and how it is told. Pure.

use std::collections::{BTreeMap, BTreeSet};

use swarm_model::resources::DEVICE_PREFIX;

use crate::offers::Devices;

/// The devices of one task that needs `needs`: of each class the first ones of `offered` that are
/// `there` and that nobody has `taken`. Of classes that the node only counts it gets none.
///
/// # Errors
/// When there are too few: says why each of them is not for it.
pub(super) fn choose(
    offered: &Devices,
    needs: &BTreeMap<String, u64>,
    taken: &BTreeSet<String>,
    there: &BTreeSet<String>,
) -> Result<Devices, String> {
    let mut chosen = Devices::new();
    for (class, paths, count) in classes(offered, needs) {
        let free = |path: &&String| !taken.contains(*path) && there.contains(*path);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let found: Vec<String> = paths.iter().filter(free).take(count).cloned().collect();
        if found.len() < count {
            let (has, all) = (found.len(), paths.iter().map(|path| word(path, taken, there)));
            let all = all.collect::<Vec<_>>().join(", ");
            return Err(format!(
                "too few devices of class {class}: needs {count}, has {has}: {all}"
            ));
        }
        chosen.insert(class.to_owned(), found);
    }
    Ok(chosen)
}

/// The classes of `needs` that this node has paths of, with these and how many are needed.
pub(super) fn classes<'a>(
    offered: &'a Devices,
    needs: &'a BTreeMap<String, u64>,
) -> impl Iterator<Item = (&'a str, &'a [String], u64)> {
    needs.iter().filter_map(|(kind, count)| {
        let class = kind.strip_prefix(DEVICE_PREFIX)?;
        Some((class, offered.get(class)?.as_slice(), *count))
    })
}

fn word(path: &str, taken: &BTreeSet<String>, there: &BTreeSet<String>) -> String {
    let state = match (there.contains(path), taken.contains(path)) {
        (false, _) => "is not there",
        (true, true) => "is in use",
        (true, false) => "is free",
    };
    format!("{path} {state}")
}

/// The variables that tell a task its devices: `SWARM_DEVICE_CAMERA=/dev/video0,/dev/video1`.
pub(super) fn variables(devices: &Devices) -> BTreeMap<String, String> {
    let mut variables: BTreeMap<String, String> = BTreeMap::new();
    for (class, paths) in devices {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        let name: String = class.chars().map(plain).collect();
        let told = variables.entry(format!("SWARM_DEVICE_{name}")).or_default();
        // Classes whose names differ only in their signs share a variable.
        let before = if told.is_empty() { "" } else { "," };
        told.extend([before, &paths.join(",")]);
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(paths: &[&str]) -> BTreeSet<String> {
        paths.iter().map(|path| (*path).to_owned()).collect()
    }

    fn devices(classes: &[(&str, &[&str])]) -> Devices {
        let texts = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
        classes.iter().map(|(class, paths)| ((*class).to_owned(), texts(paths))).collect()
    }

    fn needs(kinds: &[(&str, u64)]) -> BTreeMap<String, u64> {
        kinds.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect()
    }

    #[test]
    fn the_first_ones_that_are_there_and_free_are_handed_out() {
        let offered =
            devices(&[("camera", &["/dev/v2", "/dev/v0", "/dev/v1"]), ("gpu", &["/dev/g"])]);
        let there = set(&["/dev/v0", "/dev/v1", "/dev/v2", "/dev/g"]);
        let one = needs(&[("device/camera", 1), ("licence", 3)]);
        let chosen = choose(&offered, &one, &set(&[]), &there);
        assert_eq!(chosen, Ok(devices(&[("camera", &["/dev/v2"])])));
        let two = needs(&[("device/camera", 2), ("device/gpu", 1)]);
        let chosen = choose(&offered, &two, &set(&["/dev/v0"]), &there);
        assert_eq!(
            chosen,
            Ok(devices(&[("camera", &["/dev/v2", "/dev/v1"]), ("gpu", &["/dev/g"])]))
        );
        let counted = needs(&[("device/radio", 1)]);
        assert_eq!(choose(&offered, &counted, &set(&[]), &there), Ok(Devices::new()));
    }

    #[test]
    fn what_is_missing_is_told_path_by_path() {
        let offered = devices(&[("camera", &["/dev/v0", "/dev/v1", "/dev/v2"])]);
        let two = needs(&[("device/camera", 2)]);
        let refused = choose(&offered, &two, &set(&["/dev/v0"]), &set(&["/dev/v0", "/dev/v1"]));
        let told = "too few devices of class camera: needs 2, has 1: /dev/v0 is in use, /dev/v1 is \
                    free, /dev/v2 is not there";
        assert_eq!(refused, Err(told.to_owned()));
    }

    #[test]
    fn variables_list_the_paths_by_class() {
        let told = variables(&devices(&[
            ("camera", &["/dev/v0", "/dev/v1"]),
            ("usb-radio", &["/dev/r0"]),
            ("usb.radio", &["/dev/r1"]),
        ]));
        let expected = [
            ("SWARM_DEVICE_CAMERA", "/dev/v0,/dev/v1"),
            ("SWARM_DEVICE_USB_RADIO", "/dev/r0,/dev/r1"),
        ];
        assert_eq!(told, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    }
}
