//! `KIND=N`: so much of a resource that is only counted; `CLASS=PATH`: a device.

use std::collections::BTreeMap;

use swarm_model::resources::{DEVICE_PREFIX, Resources};
use swarm_node::offers::Offers;

/// Reads `KIND=N` of what a task needs: one at least.
///
/// # Errors
/// Says what is wrong and how it looks.
pub(crate) fn need(text: &str) -> Result<(String, u64), String> {
    let (kind, count) = pair(text)?;
    let generic = BTreeMap::from([(kind.clone(), count)]);
    let needs = Resources { generic, ..Resources::default() };
    needs.validate("generic resource").map_err(|error| error.to_string())?;
    Ok((kind, count))
}

/// Reads `CLASS` or `CLASS=N`: one device of a class, or so many.
///
/// # Errors
/// Says what is wrong and how it looks.
pub(crate) fn device(text: &str) -> Result<(String, u64), String> {
    let count = if text.contains('=') { "" } else { "=1" };
    need(&format!("{DEVICE_PREFIX}{text}{count}"))
}

/// Reads `KIND=N` of what a node offers; 0 takes the kind away.
///
/// # Errors
/// Says what is wrong and how it looks.
pub(crate) fn offer(text: &str) -> Result<(String, u64), String> {
    let (kind, count) = pair(text)?;
    need(&format!("{kind}=1"))?;
    Ok((kind, count))
}

/// Reads `CLASS=PATH` of a device that a node offers; `CLASS=none` takes the class away.
///
/// # Errors
/// Says what is wrong and how it looks.
pub(crate) fn device_path(text: &str) -> Result<(String, Option<String>), String> {
    let Some((class, path)) = text.split_once('=') else {
        return Err(format!("\"{text}\" is not CLASS=PATH: write it like camera=/dev/video0"));
    };
    let path = (path != "none").then(|| path.to_owned());
    let devices = [(class.to_owned(), path.clone().into_iter().collect())].into();
    let offers = Offers { devices, ..Offers::default() };
    match &path {
        Some(_) => offers.validate().map_err(|error| error.to_string())?,
        None => device(class).map(drop)?,
    }
    Ok((class.to_owned(), path))
}

fn pair(text: &str) -> Result<(String, u64), String> {
    let (kind, count) = text.split_once('=').unwrap_or((text, ""));
    let count = count.parse().map_err(|_not_a_number| {
        format!("\"{text}\" is not KIND=N with a whole number: write it like licence=2")
    })?;
    Ok((kind.to_owned(), count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_counted_and_a_need_is_never_of_nothing() {
        assert_eq!(need("licence=2"), Ok(("licence".to_owned(), 2)));
        assert_eq!(need("device/camera=1"), Ok(("device/camera".to_owned(), 1)));
        assert_eq!(device("camera"), Ok(("device/camera".to_owned(), 1)));
        assert_eq!(device("camera=2"), Ok(("device/camera".to_owned(), 2)));
        assert!(device("").is_err() && device("camera=0").is_err());
        assert_eq!(offer("licence=0"), Ok(("licence".to_owned(), 0)));
        assert!(need("licence=0").is_err_and(|error| error.contains("above 0")));
        for text in ["", "licence", "licence=", "licence=-1", "licence=1.5", "=2", "a b=1", "ü=1"]
        {
            assert!(need(text).is_err() && offer(text).is_err(), "{text}");
        }
    }

    #[test]
    fn devices_have_a_class_and_a_path() {
        let camera = |path: Option<&str>| Ok(("camera".to_owned(), path.map(str::to_owned)));
        assert_eq!(device_path("camera=/dev/video0"), camera(Some("/dev/video0")));
        assert_eq!(device_path("camera=/dev/a=b"), camera(Some("/dev/a=b")));
        assert_eq!(device_path("camera=none"), camera(None));
        for text in
            ["", "camera", "camera=", "=/dev/a", "=none", "a b=/dev/a", "a=b=none", "a=video0"]
        {
            assert!(device_path(text).is_err(), "{text}");
        }
    }
}
