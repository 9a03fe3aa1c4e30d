//! `filters=` of lists and events: Docker's JSON forms, the keys of each noun, and what they match.
//!
//! Of one key's values any may match, but labels must all; all keys must. Pure.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::Deserialize;

use super::errors::ApiError;
use super::types::Filters as ByKey;

/// The filters of one request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Filters(ByKey);

/// A key's values in the forms that Docker's clients send.
#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    One(String),
    Many(Vec<String>),
    Set(BTreeMap<String, bool>),
}

impl Filters {
    /// Reads `text` as JSON; a key outside `known` is refused.
    pub(super) fn parse(text: Option<&str>, known: &[&str]) -> Result<Self, ApiError> {
        let Some(text) = text else { return Ok(Self::default()) };
        let given: BTreeMap<String, Values> = serde_json::from_str(text).map_err(|_not_it| {
            ApiError::invalid(format!(
                "filters: \"{text}\" is not understood: write {{\"key\":[\"value\"]}}"
            ))
        })?;
        if let Some(key) = given.keys().find(|key| !known.contains(&key.as_str())) {
            let known = known.join(", ");
            let message = format!("filter \"{key}\" is not known here: use {known}");
            return Err(ApiError::invalid(message));
        }
        let values = |values| match values {
            Values::One(value) => vec![value],
            Values::Many(values) => values,
            Values::Set(values) => {
                values.into_iter().filter(|(_, on)| *on).map(|(v, _)| v).collect()
            }
        };
        let given = given.into_iter().map(|(key, given)| (key, values(given)));
        Ok(Self(given.filter(|(_, values)| !values.is_empty()).collect()))
    }

    /// The values of a key; none when it was not given.
    pub(super) fn values(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    /// Whether a value of `key` matches, or none was given.
    pub(super) fn any(&self, key: &str, matches: impl Fn(&str) -> bool) -> bool {
        let values = self.values(key);
        values.is_empty() || values.iter().any(|value| matches(value))
    }

    /// Whether `text` begins with a value of `key`.
    pub(super) fn prefix(&self, key: &str, text: &str) -> bool {
        self.any(key, |value| text.starts_with(value))
    }

    /// Whether the labels meet each `KEY` or `KEY=VALUE`.
    pub(super) fn labels(&self, key: &str, labels: &[&BTreeMap<String, String>]) -> bool {
        let meets = |value: &String| {
            labels.iter().any(|labels| match value.split_once('=') {
                None => labels.contains_key(value),
                Some((key, wanted)) => labels.get(key).is_some_and(|have| have == wanted),
            })
        };
        self.values(key).iter().all(meets)
    }

    /// The values of `key` as words of `T`.
    pub(super) fn words<T>(&self, key: &str) -> Result<Words<T>, ApiError>
    where
        T: FromStr,
        T::Err: std::fmt::Display,
    {
        let parse = |value: &String| {
            value.parse().map_err(|error| ApiError::invalid(format!("filter {key}: {error}")))
        };
        self.values(key).iter().map(parse).collect::<Result<_, _>>().map(Words)
    }
}

/// Values of one key, read.
#[derive(Debug)]
pub(super) struct Words<T>(Vec<T>);

impl<T: PartialEq> Words<T> {
    /// Whether `value` is one of them, or none was given.
    pub(super) fn admit(&self, value: &T) -> bool {
        self.0.is_empty() || self.0.contains(value)
    }
}

impl<T> FromIterator<T> for Words<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarm_model::node::Role;

    const KNOWN: &[&str] = &["name", "label", "role"];

    fn parse(text: &str) -> Result<Filters, ApiError> {
        Filters::parse(Some(text), KNOWN)
    }

    #[test]
    fn all_forms_of_docker_clients_mean_the_same() {
        let plain = parse(r#"{"name":["web"]}"#);
        assert_eq!(parse(r#"{"name":{"web":true,"api":false}}"#), plain);
        assert_eq!(parse(r#"{"name":"web"}"#), plain);
        assert_eq!(parse(r#"{"name":[]}"#), Ok(Filters::default()));
        assert_eq!(Filters::parse(None, KNOWN), Ok(Filters::default()));
    }

    #[test]
    fn unknown_keys_and_words_are_refused_with_those_that_would_do() {
        let error = parse(r#"{"color":["red"]}"#).expect_err("no such key");
        assert!(error.message.contains("name, label, role"), "{}", error.message);
        let error = parse(r#"{"role":["boss"]}"#).expect("is a key").words::<Role>("role");
        let error = error.expect_err("no such role");
        assert!(error.message.contains("worker, manager"), "{}", error.message);
        assert!(parse("name=web").is_err());
    }

    #[test]
    fn any_value_but_every_label_has_to_match() {
        let filters = parse(r#"{"name":["web","api"],"label":["zone=a","ssd"]}"#).expect("valid");
        assert!(filters.prefix("name", "api-2"));
        assert!(!filters.prefix("name", "db"));
        let labels = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
        };
        assert!(filters.labels("label", &[&labels(&[("zone", "a"), ("ssd", "")])]));
        assert!(!filters.labels("label", &[&labels(&[("zone", "a")])]));
        assert!(filters.labels("label", &[&labels(&[("zone", "a")]), &labels(&[("ssd", "")])]));
        assert!(!filters.labels("label", &[&labels(&[("zone", "b"), ("ssd", "")])]));
    }
}
