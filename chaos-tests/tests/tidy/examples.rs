//! The files in `examples/` are what `swarm dev` takes: services that are valid.

use serde_json::Value;
use swarm_model::service::ServiceSpec;

use super::tree::files;

#[test]
fn every_example_is_valid() {
    for file in files(&[".json"]).iter().filter(|file| file.path.starts_with("examples/")) {
        let read: Value = serde_json::from_str(&file.content).expect(&file.path);
        let services = read["Services"].as_array().expect("a list of services");
        assert!(!services.is_empty(), "{} has no service", file.path);
        for service in services {
            let spec: ServiceSpec = serde_json::from_value(service.clone()).expect(&file.path);
            assert_eq!(spec.validate(), Ok(()), "{}", file.path);
        }
    }
}
