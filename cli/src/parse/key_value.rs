//! `KEY=VALUE` in its forms: labels, filters, environment variables and files of them.

use std::collections::BTreeMap;

/// Reads `KEY=VALUE` or `KEY` (empty value).
///
/// # Errors
/// When there is no key.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if key.trim().is_empty() {
        return Err(format!("\"{text}\" has no key: write KEY=VALUE"));
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// Reads `KEY=VALUE`; both must be there.
///
/// # Errors
/// When one is missing.
pub(crate) fn filter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() => {
            Ok((key.to_owned(), value.to_owned()))
        }
        _ => Err(format!("\"{text}\" is not a filter: write KEY=VALUE, like name=web")),
    }
}

/// Reads `KEY=VALUE`, or `KEY` for the variable of that name in `own` (`None` when it is not set).
///
/// # Errors
/// When there is no key.
pub(crate) fn env(
    text: &str,
    own: impl Fn(&str) -> Option<String>,
) -> Result<Option<(String, String)>, String> {
    match text.split_once('=') {
        Some(("", _)) => Err(format!("\"{text}\" has no name: write KEY=VALUE")),
        Some((key, _)) if key.contains(char::is_whitespace) => {
            Err(format!("the name \"{key}\" has a space in it"))
        }
        Some((key, value)) => Ok(Some((key.to_owned(), value.to_owned()))),
        None if text.trim().is_empty() => Err("an environment variable needs a name".to_owned()),
        None => Ok(own(text).map(|value| (text.to_owned(), value))),
    }
}

/// Reads a file of variables: one a line, `#` starts a comment line, empty lines are skipped.
///
/// # Errors
/// Names the line that is wrong.
pub(crate) fn env_file(
    text: &str,
    own: impl Fn(&str) -> Option<String>,
) -> Result<BTreeMap<String, String>, String> {
    let mut variables = BTreeMap::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let pair = env(line, &own).map_err(|reason| format!("line {}: {reason}", index + 1))?;
        variables.extend(pair);
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(name: &str) -> Option<String> {
        (name == "HOME").then(|| "/root".to_owned())
    }

    #[test]
    fn values_keep_their_equal_signs() {
        assert_eq!(label("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(label("a"), Ok(("a".into(), String::new())));
        assert_eq!(env("a=b=c", own), Ok(Some(("a".into(), "b=c".into()))));
        assert!(label("=x").is_err());
        assert!(env("=x", own).is_err());
        assert!(env("A B=1", own).is_err());
        assert_eq!(env("A=B C", own), Ok(Some(("A".into(), "B C".into()))));
    }

    #[test]
    fn a_bare_variable_is_taken_from_the_own_environment() {
        assert_eq!(env("HOME", own), Ok(Some(("HOME".into(), "/root".into()))));
        assert_eq!(env("NOT_SET", own), Ok(None));
    }

    #[test]
    fn filters_need_both_sides() {
        assert_eq!(filter("label=a=b"), Ok(("label".into(), "a=b".into())));
        for text in ["", "name", "=x", "name="] {
            assert!(filter(text).is_err(), "{text}");
        }
    }

    #[test]
    fn env_files_skip_comments_and_name_bad_lines() {
        let read = env_file("# c\n\nA=1\n  B= 2 \nHOME\nNOT_SET\n", own).expect("is valid");
        let pairs: Vec<_> = read.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(pairs, [("A", "1"), ("B", " 2 "), ("HOME", "/root")]);
        let error = env_file("A=1\nB C=2\n", own).expect_err("has a space");
        assert!(error.starts_with("line 2:"), "{error}");
    }
}
