//! What operators are given in docs/deploy fits together, and to the server.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use cas_server::Config;
use cas_server::metrics::{Method, Outcome};
use http::StatusCode;
use yaml_rust2::{Yaml, YamlLoader};

use crate::serving::{self, caller, operation, text};

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/deploy");

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(DEPLOY).join(name)).unwrap()
}

/// Returns the manifests by their kinds.
fn manifests() -> BTreeMap<String, Yaml> {
    let texts = [read("kubernetes.yaml"), read("secret.yaml")];
    let documents = texts.iter().flat_map(|text| YamlLoader::load_from_str(text).unwrap());
    documents.map(|it| (it["kind"].as_str().unwrap().to_owned(), it)).collect()
}

fn config(text: &str) -> Config {
    Config::parse(text, Path::new("/etc/bld/bld-server.toml"), Some(Path::new("/nowhere"))).unwrap()
}

/// Returns the value of a key in a unit.
fn of_unit<'a>(unit: &'a str, key: &str) -> &'a str {
    unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap()
}

#[test]
fn systemd_takes_the_unit_without_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let unit = read("bld-server.service");
    let start = format!("ExecStart={}", of_unit(&unit, "ExecStart"));
    // What it starts is not installed here, and is the only thing that may not be as it will be.
    let unit = unit.replace(&start, "ExecStart=/bin/true");
    let path = folder.path().join("bld-server.service");
    std::fs::write(&path, unit).unwrap();
    let verified = Command::new("systemd-analyze").arg("verify").arg(&path).output().unwrap();
    let said = String::from_utf8(verified.stderr).unwrap();
    assert!(verified.status.success() && said.is_empty(), "{said}");
}

#[test]
fn the_unit_and_the_image_start_a_server_with_the_configuration_beside_them() {
    let (unit, image) = (read("bld-server.service"), read("Containerfile"));
    let config = config(&read("bld-server.toml"));
    let state = Path::new("/var/lib").join(of_unit(&unit, "StateDirectory"));
    assert_eq!(config.root, state);
    assert!(image.contains(&format!("VOLUME {}\n", state.display())));
    let port = config.listen.tcp[0].port();
    assert!(image.contains(&format!("EXPOSE {port}\n")));
    let arguments = "server --config /etc/bld/bld-server.toml";
    assert_eq!(of_unit(&unit, "ExecStart"), format!("/usr/bin/bld {arguments}"));
    assert!(image.contains(r#"ENTRYPOINT ["/usr/bin/bld", "server"]"#));
    assert!(image.contains(r#"CMD ["--config", "/etc/bld/bld-server.toml"]"#));
    // Setting its own priority is among what the filter refuses; without this the first attempt would be the server's end.
    assert_eq!(of_unit(&unit, "SystemCallErrorNumber"), "EPERM");
    let stop: u64 = of_unit(&unit, "TimeoutStopSec").parse().unwrap();
    assert!(config.drain.as_secs() < stop, "it is killed before it has drained");
}

#[test]
fn the_manifests_name_what_the_others_have() {
    let manifests = manifests();
    let set = &manifests["StatefulSet"]["spec"];
    let pod = &set["template"]["spec"];
    let container = &pod["containers"][0];
    let labels = &set["template"]["metadata"]["labels"];
    assert_eq!(&set["selector"]["matchLabels"], labels);
    assert_eq!(&manifests["Service"]["spec"]["selector"], labels);
    assert_eq!(&manifests["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"], labels);
    assert_eq!(set["serviceName"], manifests["Service"]["metadata"]["name"]);

    let port = &container["ports"][0];
    assert_eq!(manifests["Service"]["spec"]["ports"][0]["targetPort"], port["name"]);
    assert_eq!(manifests["NetworkPolicy"]["spec"]["ingress"][0]["ports"][0]["port"], port["name"]);
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        assert_eq!(container[probe]["httpGet"]["port"], port["name"], "{probe}");
    }

    let volumes = pod["volumes"].as_vec().unwrap();
    let claims = set["volumeClaimTemplates"].as_vec().unwrap();
    let names = volumes.iter().map(|it| &it["name"]);
    let names: Vec<_> = names.chain(claims.iter().map(|it| &it["metadata"]["name"])).collect();
    for mount in container["volumeMounts"].as_vec().unwrap() {
        assert!(names.contains(&&mount["name"]), "{mount:?}");
    }
    let of = |name: &str| volumes.iter().find(|it| it["name"].as_str() == Some(name)).unwrap();
    assert_eq!(of("config")["configMap"]["name"], manifests["ConfigMap"]["metadata"]["name"]);
    assert_eq!(of("tls")["secret"]["secretName"], manifests["Secret"]["metadata"]["name"]);
}

#[test]
fn the_configuration_of_the_manifests_fits_their_volumes_and_times() {
    let manifests = manifests();
    let set = &manifests["StatefulSet"]["spec"];
    let pod = &set["template"]["spec"];
    let container = &pod["containers"][0];
    let config = config(manifests["ConfigMap"]["data"]["bld-server.toml"].as_str().unwrap());
    let mount = |name: &str| {
        let mounts = container["volumeMounts"].as_vec().unwrap();
        let mount = mounts.iter().find(|it| it["name"].as_str() == Some(name)).unwrap();
        Path::new(mount["mountPath"].as_str().unwrap()).to_owned()
    };
    assert_eq!(config.root, mount("data"));
    assert_eq!(container["args"][1].as_str().map(Path::new), Some(&*mount("config")));
    let tls = config.tls.as_ref().unwrap();
    for (path, key) in [(&tls.certificate, "tls.crt"), (&tls.key, "tls.key")] {
        assert_eq!(path, &mount("tls").join(key));
        assert!(!manifests["Secret"]["stringData"][key].is_badvalue(), "{key}");
    }
    let port = i64::from(config.listen.tcp[0].port());
    assert_eq!(container["ports"][0]["containerPort"].as_i64(), Some(port));

    let claim = &set["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"];
    let claim = claim.as_str().unwrap().strip_suffix("Gi").unwrap();
    assert!(config.store.budget < claim.parse::<u64>().unwrap() << 30);
    let pause = container["lifecycle"]["preStop"]["sleep"]["seconds"].as_i64().unwrap();
    let grace = pod["terminationGracePeriodSeconds"].as_i64().unwrap();
    let drain = i64::try_from(config.drain.as_secs()).unwrap();
    assert!(pause + drain < grace, "it is killed before it has drained");
}

#[tokio::test]
async fn probes_ask_what_is_answered_to_everybody() {
    let operation = operation();
    let pod = &manifests()["StatefulSet"]["spec"]["template"]["spec"]["containers"][0];
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let path = pod[probe]["httpGet"]["path"].as_str().unwrap();
        let answer = serving::get(&operation, None, path).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn alerts_are_about_metrics_that_there_are() {
    let answer =
        serving::get(&operation(), Some(caller("scraper", serving::READ)), "/metrics").await;
    let known: Vec<String> = text(&answer).lines().flat_map(names).collect();
    let alerts = YamlLoader::load_from_str(&read("alerts.yaml")).unwrap();
    for rule in alerts[0]["groups"][0]["rules"].as_vec().unwrap() {
        let expression = rule["expr"].as_str().unwrap();
        for word in words(expression).filter(|it| it.starts_with("bld_")) {
            assert!(known.iter().any(|it| it == word), "there is no {word}");
        }
        for (label, value) in labels(expression) {
            let is_known = |it: &str| match label {
                "method" => Method::all().any(|method| method.as_str() == it),
                "outcome" => Outcome::all().any(|outcome| outcome.as_str() == it),
                _ => text(&answer).contains(&format!("{label}=\"{it}\"")) || label == "job",
            };
            assert!(value.split('|').all(is_known), "there is no {label} {value}");
        }
        assert!(rule["annotations"]["action"].as_str().is_some(), "what is to be done?");
    }
}

/// Returns the names of the series of a family that a line declares.
fn names(line: &str) -> Vec<String> {
    let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|it| it.split_once(' ')) else {
        return Vec::new();
    };
    match kind {
        "counter" => vec![format!("{name}_total")],
        "histogram" => ["bucket", "count", "sum"].map(|it| format!("{name}_{it}")).to_vec(),
        _ => vec![name.to_owned()],
    }
}

/// Returns the words of an expression.
fn words(expression: &str) -> impl Iterator<Item = &str> {
    expression.split(|it: char| !it.is_ascii_alphanumeric() && it != '_')
}

/// Returns the labels that an expression asks for, with their values.
fn labels(expression: &str) -> Vec<(&str, &str)> {
    let selectors = expression.split('{').skip(1).filter_map(|it| it.split('}').next());
    let pairs = selectors.flat_map(|it| it.split(','));
    let pairs = pairs.filter_map(|it| it.split_once('='));
    pairs.map(|(label, value)| (label, value.trim_start_matches('~').trim_matches('"'))).collect()
}
