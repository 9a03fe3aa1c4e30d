//! What `swarm dev` runs: the services of a file, or the built-in example.

use std::path::Path;

use serde::Deserialize;
use swarm_model::service::ServiceSpec;

use crate::exit::Failure;

/// The built-in example: says hello from each of its tasks.
const EXAMPLE: &str = include_str!("example.json");

/// The file's form.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Services {
    services: Vec<ServiceSpec>,
}

/// Reads and checks a file.
///
/// # Errors
/// Says where the file is wrong.
pub(super) fn read(file: &Path) -> Result<Vec<ServiceSpec>, Failure> {
    let name = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::usage(format!("cannot read {name}: {error}")))?;
    parse(&text).map_err(|reason| Failure::usage(format!("{name}: {reason}")))
}

/// The example's services.
///
/// # Errors
/// Never: a test reads it.
pub(super) fn built_in() -> Result<Vec<ServiceSpec>, Failure> {
    parse(EXAMPLE).map_err(Failure::failed)
}

fn parse(text: &str) -> Result<Vec<ServiceSpec>, String> {
    let read: Services = serde_json::from_str(text).map_err(|error| {
        format!("{error}; the form is {{\"Services\": [SPEC, ...]}}, see `swarm dev --help`")
    })?;
    for spec in &read.services {
        spec.validate().map_err(|error| format!("service {}: {error}", spec.name))?;
    }
    let mut names: Vec<_> = read.services.iter().map(|spec| &spec.name).collect();
    names.sort();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("there are two services called {}", twice[0]));
    }
    Ok(read.services)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_valid() {
        assert!(!built_in().expect("is valid").is_empty());
    }

    #[test]
    fn mistakes_are_named() {
        let service = r#"{"Name": "web", "Mode": {"Replicated": {"Replicas": 1}},
            "TaskTemplate": {"Runtime": {"Process": {"Command": [COMMAND]}}}}"#;
        let file = |command: &str, times: usize| {
            let services = vec![service.replace("COMMAND", command); times];
            format!(r#"{{"Services": [{}]}}"#, services.join(","))
        };
        assert!(parse(&file(r#""/bin/web""#, 1)).is_ok());
        assert!(parse(&file(r#""/bin/web""#, 2)).expect_err("twice").contains("two services"));
        assert!(parse(&file("", 1)).expect_err("no program").contains("service web"));
        assert!(parse("{}").expect_err("no services").contains("Services"));
        assert!(parse("not json").is_err());
    }
}
