//! The command line's readers. They live in the program's own crate, which is no library; their files
//! stand on their own, so they are compiled here once more.

use serde_json::json;
use swarm_model::fuzz::Target;
use swarm_model::units::Timestamp;

#[path = "../../../cli/src/parse/mod.rs"]
mod parse;
#[path = "../../../cli/src/output/template.rs"]
mod template;

/// The readers.
pub(super) const TARGETS: &[Target] = &[
    Target::new(
        "cli.duration",
        |bytes| text(bytes, duration),
        || samples(&["1m30s", "1.5h", "500ms", "0", "2160h", "1d"]),
    ),
    Target::new(
        "cli.quantity",
        |bytes| text(bytes, quantity),
        || samples(&["64m", "1.5g", "512KiB", "0.25", "2", ".001"]),
    ),
    Target::new(
        "cli.address",
        |bytes| text(bytes, address),
        || samples(&["10.0.0.1:2377", "[fe80::1]:99", "eth0", "eth0:1", "manager.example:9"]),
    ),
    Target::new(
        "cli.key-value",
        |bytes| text(bytes, key_value),
        || samples(&["A=1\n# c\n  B= 2 \nHOME\n", "label=a=b", "\u{feff}A=b"]),
    ),
    Target::new(
        "cli.config-mount",
        |bytes| text(bytes, config_mount),
        || samples(&["app", "source=app,target=etc/app.conf,uid=1,gid=2,mode=0400"]),
    ),
    Target::new(
        "cli.generic-resource",
        |bytes| text(bytes, generic),
        || {
            samples(&[
                "licence=2",
                "device/camera=1",
                "a.b-c_d=0",
                "camera=/dev/video0",
                "camera=none",
            ])
        },
    ),
    Target::new(
        "cli.moment",
        |bytes| text(bytes, moment),
        || {
            samples(&[
                "2026-01-31T12:00:00Z",
                "1970-01-02",
                "1970-01-01T00:01",
                "1700000000.5",
                "10m",
            ])
        },
    ),
    Target::new(
        "cli.words",
        |bytes| text(bytes, words),
        || samples(&["-c 'echo  hi; sleep 1'", r#""say \"hi\" \n""#, r"a\ b ''"]),
    ),
    Target::new(
        "cli.format",
        |bytes| text(bytes, format),
        || {
            samples(&[
                "{{.ID}}\\t{{json .Labels}}",
                "{{.Name | upper | len}}",
                "{{.Labels.a.b}}{{.",
            ])
        },
    ),
];

fn samples(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn text(bytes: &[u8], read: fn(&str) -> bool) -> bool {
    std::str::from_utf8(bytes).is_ok_and(read)
}

fn duration(text: &str) -> bool {
    let Ok(span) = parse::duration::parse(text) else { return false };
    assert_eq!(parse::duration::parse(&parse::duration::format(span)), Ok(span));
    !parse::duration::in_words(span).is_empty()
}

fn quantity(text: &str) -> bool {
    let cpus = parse::quantity::cpus(text);
    if let Ok(cpus) = cpus {
        assert_eq!(parse::quantity::cpus(&parse::quantity::cpus_text(cpus)), Ok(cpus));
    }
    parse::quantity::bytes(text).is_ok() | cpus.is_ok()
}

fn address(text: &str) -> bool {
    parse::address::local(text).is_ok() | parse::address::remote(text).is_ok()
}

fn key_value(text: &str) -> bool {
    let own = |name: &str| (name == "HOME").then(|| "/".to_owned());
    parse::key_value::label(text).is_ok()
        & parse::key_value::filter(text).is_ok()
        & parse::key_value::env(text, own).is_ok()
        | parse::key_value::env_file(text, own).is_ok()
}

fn generic(text: &str) -> bool {
    let (need, offer) = (parse::generic::need(text), parse::generic::offer(text));
    let device = parse::generic::device(text).is_ok();
    assert!(need.is_err() || need == offer, "a need that nobody can offer: {text}");
    let path = parse::generic::device_path(text);
    assert!(path.is_err() || text.contains('='), "a device without a path: {text}");
    device || offer.is_ok() || path.is_ok()
}

fn config_mount(text: &str) -> bool {
    parse::config_mount::parse(text).is_ok()
}

fn moment(text: &str) -> bool {
    let now = Timestamp::from_millis(1_800_000_000_000);
    parse::moment::parse(text, now).is_ok_and(|at| !at.to_string().is_empty())
}

fn words(text: &str) -> bool {
    parse::words::split(text).is_ok()
}

fn format(text: &str) -> bool {
    let _any = template::has_free_keys(text);
    let Ok(template) = text.parse::<template::Template>() else { return false };
    let object = json!({"ID": "x", "Name": "web", "Labels": {"a": {"b": [1, null]}}, "N": 7});
    template.render(&object).is_ok() & !template.header().is_empty()
}
