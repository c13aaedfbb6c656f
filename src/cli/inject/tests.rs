//! Manifests in, manifests out.

use super::super::output::tests::captured;
use super::yaml::{Node, parse, split};
use super::*;
use clap::Parser;

#[derive(Debug, Parser)]
struct Alone {
    #[command(flatten)]
    args: InjectArgs,
}

const SHOP: &str = "\
# Source: shop.yaml
apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop
spec:
  template:
    metadata:
      labels: {app: shop}
    spec:
      initContainers:
      - {name: migrate, image: shop}
      containers:
      - name: shop
        image: shop:1 # goes
        env:
        - {name: A, value: 'yes'}
      - name: log
        image: log
      volumes:
      - name: secret
        secret: {secretName: s, defaultMode: 0440}
---
apiVersion: v1
kind: Service   # stays
metadata: {name: shop}
";

/// What comes out, or what is said on failure.
fn injected(manifests: &str, flags: &str) -> Result<String, String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("in.yaml");
    std::fs::write(&file, manifests).unwrap();
    let words = ["inject"].into_iter().chain(flags.split_whitespace()).chain([file.to_str().unwrap()]);
    let alone = Alone::try_parse_from(words).map_err(|error| error.to_string())?;
    let (mut out, stdout, _) = captured();
    match run(&alone.args, &mut out) {
        Ok(_) => Ok(stdout.text()),
        Err(failure) => {
            assert_eq!((failure.exit, stdout.text().as_str()), (Exit::Usage, ""), "{failure}");
            Err(failure.message)
        }
    }
}

fn objects(stream: &str) -> Vec<Node> {
    split(stream).into_iter().filter(|document| !document.is_empty()).filter_map(|document| parse(document.text, 1).unwrap()).collect()
}

fn pod(stream: &str) -> Node {
    let all = objects(stream);
    let deployment = all.iter().find(|object| object.text_at(&["kind"]) == Some("Deployment")).expect("a Deployment");
    deployment.get("spec").and_then(|spec| spec.get("template")).unwrap().clone()
}

fn spec(stream: &str) -> Node {
    pod(stream).get("spec").unwrap().clone()
}

fn names(spec: &Node, list: &str) -> Vec<String> {
    spec.items(list).iter().map(|item| item.name().unwrap().to_owned()).collect()
}

// Goal: the relay starts before everything else of the pod, each container reaches it, and the pod lives long enough; nothing that was
// there is lost or means something else.
#[test]
fn a_pod_gets_the_relay() {
    let out = injected(SHOP, "--brokers kafka:9092").unwrap();
    let spec = spec(&out);
    assert_eq!(names(&spec, "initContainers"), ["dualstream", "migrate"]);
    assert_eq!(names(&spec, "containers"), ["shop", "log"]);
    assert_eq!(names(&spec, "volumes"), ["secret", "dualstream-buffer", "dualstream-config", "dualstream-socket"]);
    assert_eq!(spec.items("initContainers")[0].text_at(&["restartPolicy"]), Some("Always"));
    assert_eq!(spec.items("volumes")[0].get("secret").unwrap().get("defaultMode"), Some(&Node::plain("0440")));
    assert_eq!(names(&spec.items("containers")[0], "env"), ["A", "DUALSTREAM_SOCKET", "DUALSTREAM_URL"]);
    assert_eq!(spec.items("containers")[0].items("env")[0].get("value"), Some(&Node::string("yes")));
    assert_eq!(names(&spec.items("containers")[1], "volumeMounts"), ["dualstream-socket"]);
    assert_eq!(spec.text_at(&["terminationGracePeriodSeconds"]), Some("60"));
    assert_eq!(spec.text_at(&["securityContext", "fsGroup"]), Some("65532"));
    assert_eq!(pod(&out).text_at(&["metadata", "labels", "dualstream/relay"]), Some("dualstream"));
    assert_eq!(pod(&out).text_at(&["metadata", "labels", "app"]), Some("shop"));
    assert!(out.ends_with(&SHOP[SHOP.find("---\n").unwrap()..]), "the Service is not as it was: {out}");
    assert!(out.contains("---\n# Source: shop.yaml\napiVersion: apps/v1\n"), "{out}");
    assert!(objects(&out)[0].text_at(&["data", "relay.toml"]).unwrap().contains("brokers = \"kafka:9092\""));
}

// Goal: in a pipeline that runs again and again, twice is once; a changed value is brought up to date, and what others have added to the
// relay stays.
#[test]
fn twice_is_once() {
    let flags = "--brokers kafka:9092 --container shop";
    let once = injected(SHOP, flags).unwrap();
    assert_eq!(injected(&once, flags).unwrap(), once);
    // A mesh's proxy is put before the relay, and somebody gives the relay a variable from a secret.
    let edited = once.replacen("      - args:", "      - name: proxy\n        image: proxy\n      - args:", 1).replacen(
        "        - name: DUALSTREAM_CONFIG",
        "        - name: EXTRA\n          value: x\n        - name: DUALSTREAM_CONFIG",
        1,
    );
    assert_ne!(edited, once);
    let changed = injected(&edited, "--brokers kafka:9093 --max-bytes 2GiB --container log --image relay:2 --no-socket").unwrap();
    let spec = spec(&changed);
    assert_eq!(names(&spec, "initContainers"), ["proxy", "dualstream", "migrate"]);
    let relay = &spec.items("initContainers")[1];
    assert_eq!(relay.text_at(&["image"]), Some("relay:2"));
    assert_eq!(names(relay, "env"), ["DUALSTREAM_CONFIG", "EXTRA"]);
    assert_eq!(names(relay, "volumeMounts"), ["dualstream-buffer", "dualstream-config"]);
    assert_eq!(spec.items("volumes")[1].text_at(&["emptyDir", "sizeLimit"]), Some("2624Mi"));
    assert_eq!(names(&spec, "volumes").len(), 3);
    assert_eq!(names(&spec.items("containers")[0], "env"), ["A"]);
    assert_eq!(names(&spec.items("containers")[1], "env"), ["DUALSTREAM_URL"]);
    let config = objects(&changed)[0].text_at(&["data", "relay.toml"]).unwrap().to_owned();
    assert!(config.contains("kafka:9093") && config.contains("2GiB") && !config.contains("socket"), "{config}");
    let sums =
        [&once, &changed].map(|out| pod(out).text_at(&["metadata", "annotations", "dualstream/config-checksum"]).unwrap().to_owned());
    assert_ne!(sums[0], sums[1], "a changed configuration makes no new pods");
    let old = injected(&changed, "--brokers kafka:9093 --fallback").unwrap();
    assert_eq!(names(&self::spec(&old), "containers"), ["shop", "log", "dualstream"]);
    assert!(old.contains("linger = \"30s\"") && old.contains("grace = \"55s\""), "{old}");
    assert_eq!(names(&self::spec(&injected(&old, flags).unwrap()), "initContainers"), ["dualstream", "proxy", "migrate"]);
}

// Goal: every kind that makes pods gets it, inside lists, too; in each namespace there is the ConfigMap; a longer time to stop, or a
// group of one's own, stays.
#[test]
fn every_kind() {
    let pod = "spec: {terminationGracePeriodSeconds: 300, securityContext: {fsGroup: 7}, containers: [{name: a, image: b}]}";
    let template = format!("{{template: {{{pod}}}}}");
    let object = |version: &str, kind: &str, namespace: &str, spec: &str| {
        format!("{{apiVersion: {version}, kind: {kind}, metadata: {{name: x, namespace: {namespace}}}, spec: {spec}}}")
    };
    let mut items: Vec<String> =
        ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"].map(|kind| object("apps/v1", kind, "one", &template)).into();
    items.push(object("batch/v1", "Job", "two", &template));
    items.push(object("batch/v1", "CronJob", "two", &format!("{{jobTemplate: {{spec: {template}}}}}")));
    items.push(object("v1", "Pod", "two", pod.strip_prefix("spec: ").unwrap()));
    items.push(object("example.org/v1", "Job", "two", &template));
    let out = injected(&format!("apiVersion: v1\nkind: List\nitems: [{}]\n", items.join(", ")), "--brokers k:1").unwrap();
    let all = objects(&out);
    assert_eq!(all.len(), 3);
    let namespaces: Vec<_> = all[..2].iter().map(|map| map.text_at(&["metadata", "namespace"]).unwrap()).collect();
    assert_eq!(namespaces, ["one", "two"]);
    let texts: Vec<String> = all[2].items("items").iter().map(yaml::emit).collect();
    assert_eq!(texts.len(), 8);
    for text in &texts[..7] {
        assert!(text.contains("name: dualstream-buffer") && text.contains("Seconds: 300") && text.contains("fsGroup: 7"), "{text}");
    }
    assert!(!texts[7].contains("dualstream"), "another group's Job was changed");
}

// Goal: what a cluster gives back, one List with everything in it, has one ConfigMap afterwards, and it is the new one; what stands
// beside a separator, or has comments before it, comes through as well.
#[test]
fn other_shapes_of_streams() {
    let once = injected(SHOP, "--brokers kafka:9092").unwrap();
    let list = Node::map([("apiVersion", Node::plain("v1")), ("kind", Node::plain("List")), ("items", Node::List(objects(&once)))]);
    let again = injected(&yaml::emit(&list), "--brokers kafka:9093").unwrap();
    let all = objects(&again);
    assert_eq!((all.len(), all[0].items("items").len()), (1, 3), "{again}");
    assert!(all[0].items("items")[0].text_at(&["data", "relay.toml"]).unwrap().contains("kafka:9093"));
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{name: a}]}}";
    for stream in [format!("--- {pod}\n"), format!("# a\n\n# b\n{pod}"), format!("%YAML 1.2\n---\n{pod}\n...\n---\n# nothing\n")] {
        let out = injected(&stream, "--brokers k:1").unwrap();
        assert_eq!(objects(&out).len(), 2, "{out}");
        assert_eq!(injected(&out, "--brokers k:1").unwrap(), out);
    }
}

// Goal: what cannot be done is refused with what is wrong, where, and what helps; nothing is written.
#[test]
fn refusals() {
    let with = |from: &str, to: &str| SHOP.replacen(from, to, 1);
    let job = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: j}\nspec: {parallelism: 3, template: {spec: {containers: [{name: a}]}}}\n";
    for (manifests, flags, says) in [
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: s}\n".to_owned(),
            "--brokers k:1",
            "nothing here makes pods (Service/s); give a Deployment",
        ),
        (String::new(), "--brokers k:1", "nothing here makes pods (nothing)"),
        (with("metadata:\n", "metadata: [\n"), "--brokers k:1", "in.yaml: line 6, column 5: not YAML"),
        (
            with("- {name: migrate", "- {name: dualstream"),
            "--brokers k:1",
            "Deployment/shop has a container `dualstream` that is not the relay",
        ),
        (with("      - name: log\n", "      - name: dualstream\n"), "--brokers k:1", "rename it"),
        (with("      containers:", "      containers: []\n      other:"), "--brokers k:1", "Deployment/shop has no containers"),
        (with("      volumes:\n", "      volumes: 5\n      other:\n"), "--brokers k:1", "volumes is not a list"),
        (
            with("        image: log\n", "        volumeMounts: [{name: v, mountPath: /run/dualstream}]\n"),
            "--brokers k:1",
            "container log has the volume v at /run/dualstream",
        ),
        (SHOP.to_owned(), "--brokers k:1 --container web", "no container web; it has shop, log"),
        (SHOP.to_owned(), "--brokers k:1 --only Deployment/web", "--only Deployment/web: not here; there is Deployment/shop, Service/shop"),
        (SHOP.to_owned(), "--topic t", "kafka.brokers is not set"),
        (SHOP.to_owned(), "--brokers k:1 --max-bytes 1GBit", "buffer.max_bytes"),
        (SHOP.to_owned(), "--brokers k:1 --storage-size 1Gi", "needs 1344Mi: the pod would be evicted"),
        (SHOP.to_owned(), "--brokers k:1 --storage ephemeral --storage-size 1400Mi", "needs 1408Mi: the relay would be full"),
        (SHOP.to_owned(), "--brokers k:1 --storage-size 1.5Gi", "which is no size"),
        (SHOP.to_owned(), "--brokers k:1 --storage existingClaim", "--claim"),
        (SHOP.to_owned(), "--brokers k:1 --claim c", "--claim is for"),
        (SHOP.to_owned(), "--brokers k:1 --storage-class c", "--storage-class is for"),
        (job.to_owned(), "--brokers k:1 --storage existingClaim --claim c", "Job/j makes several pods"),
        (job.to_owned(), "--brokers k:1 --fallback", "Job/j would not end"),
        (SHOP.to_owned(), "--fallback", "--fallback changes the relay's settings"),
        (SHOP.to_owned(), "--brokers k:1 --redis-url redis://u:p@h", "redis.url has a password"),
        (SHOP.to_owned(), "--name Shop", "a-z"),
        (SHOP.to_owned(), "--config /nowhere/relay.toml", "/nowhere/relay.toml"),
    ] {
        let said = injected(&manifests, flags).expect_err(says);
        assert!(said.contains(says), "{flags}: {said}\nnot: {says}");
    }
}

// Goal: a settings file is judged as the relay will, keeps what it says, and cannot say what the pod decides otherwise.
#[test]
fn settings_from_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("relay.toml");
    let flags = format!("--config {}", file.display());
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    write(
        "[kafka]\nbrokers = \"k:1\"\nproperties = { \"linger.ms\" = \"5\" }\n[redis]\nurl_file = \"/etc/nowhere\"\n[shutdown]\ngrace = \"90s\"\n",
    );
    let out = injected(SHOP, &flags).unwrap();
    let config: toml::Table = objects(&out)[0].text_at(&["data", "relay.toml"]).unwrap().parse().unwrap();
    assert_eq!(config["kafka"]["properties"]["linger.ms"].as_str(), Some("5"));
    assert_eq!(config["redis"]["url_file"].as_str(), Some("/etc/nowhere"));
    assert_eq!(config["buffer"]["dir"].as_str(), Some("/var/lib/dualstream/buffer"));
    assert_eq!(config["ops"]["probe_listen"].as_str(), Some("0.0.0.0:7412"));
    assert_eq!(spec(&out).text_at(&["terminationGracePeriodSeconds"]), Some("125"));
    let without = injected(SHOP, &format!("{flags} --no-config-map")).unwrap();
    assert_eq!((objects(&without).len(), spec(&without).text_at(&["terminationGracePeriodSeconds"])), (2, Some("125")));
    for (text, says) in [
        ("[kafka]\nbroker = \"k:1\"\n", "kafka.broker"),
        ("[kafka]\nbrokers = \"k:1\"\nproperties = { \"sasl.password\" = \"x\" }\n", "no place for a secret"),
        ("[kafka]\nbrokers = \"k:1\"\n[buffer]\ndir = \"/data\"\n", "the settings say buffer.dir = \"/data\", but in the pod it is"),
        ("kafka = [", "relay.toml"),
    ] {
        write(text);
        let said = injected(SHOP, &flags).expect_err(says);
        assert!(said.contains(says), "{said}\nnot: {says}");
    }
}
