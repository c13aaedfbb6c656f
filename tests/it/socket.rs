//! The Unix socket as a door: who may use it, and what happens to the file when a relay dies or another one comes.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::Path,
    process::Command,
    time::Duration,
};

use serde_json::{Value, json};

use crate::support::{ports, relay::Relay, relay_builder::Builder, wait};

const SOON: Duration = Duration::from_secs(30);
/// There is no Kafka here: nothing is ever drained.
const STOPPED_WITH_EVENTS_LEFT: i32 = 5;
/// A user who is nobody in particular.
const OTHER_UID: i64 = 65_534;

// Goal: the socket is open to those whom I said, from its first moment on.
#[test]
fn the_file_has_the_mode_that_was_asked_for() {
    for (mode, bits) in [("0600", 0o600), ("0622", 0o622)] {
        let relay = builder().set("ingest.socket_mode", mode).start();
        let file = fs::symlink_metadata(socket_of(&relay)).unwrap();
        assert!(file.file_type().is_socket());
        assert_eq!(file.permissions().mode() & 0o777, bits);
        relay.uds_client().post_json("/v1/events", &event()).expect(202);
        assert_eq!(relay.stop(SOON), STOPPED_WITH_EVENTS_LEFT);
        assert!(!socket_of(&relay).exists(), "a relay that stopped leaves no socket behind");
    }
}

// Goal: after a crash the relay starts again at its old place; the socket of the dead one is no obstacle.
#[test]
fn the_socket_of_a_dead_relay_is_replaced() {
    let mut relay = builder().start();
    relay.uds_client().post_json("/v1/events", &event()).expect(202);
    relay.kill9();
    assert!(socket_of(&relay).exists(), "a killed relay cannot remove its socket");
    assert!(relay.uds_client().try_request("GET", "/", &[], b"").is_err());
    relay.restart();
    relay.uds_client().post_json("/v1/events", &event()).expect(202);
}

// Goal: a second relay never takes the socket of one that lives, nor any other file; it says what is in its way.
#[test]
fn the_socket_of_a_living_relay_and_any_other_file_are_left_alone() {
    let first = builder().start();
    let socket = socket_of(&first);
    let second = builder().set("ingest.socket", socket.display().to_string()).run_to_exit(SOON);
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.lines.iter().any(|line| line.contains(&socket.display().to_string()) && line.contains("in use")), "{second:?}");
    first.uds_client().post_json("/v1/events", &event()).expect(202);

    let precious = first.dir().join("precious");
    fs::write(&precious, "data").unwrap();
    let third = builder().set("ingest.socket", precious.display().to_string()).run_to_exit(SOON);
    assert_eq!(third.code, Some(1), "{third:?}");
    assert_eq!(fs::read(&precious).unwrap(), b"data");
}

// Goal: with allow_uids, only those users can post, whatever the file's mode; the others are shown the door and the log says who.
#[test]
fn only_the_users_on_the_list_get_in() {
    let Some(open) = open_folder() else { return };
    let socket = open.path().join("ingest.sock");
    let start = |uids: &[i64]| {
        let uids: Vec<toml::Value> = uids.iter().map(|uid| toml::Value::Integer(*uid)).collect();
        let door = builder().set("ingest.socket", socket.display().to_string()).set("ingest.socket_mode", "0666");
        door.set("ingest.allow_uids", uids).start()
    };

    let theirs = start(&[OTHER_UID]);
    assert!(
        theirs.uds_client().try_request("POST", "/v1/events", &JSON, event().to_string().as_bytes()).is_err(),
        "root is not on the list"
    );
    assert_eq!(post_as_other(&socket), "202");
    assert_eq!(buffered(&theirs), 1, "the refused one has stored nothing");
    let uid_in_log =
        |line: &Value| line["message"].as_str().is_some_and(|text| text.contains("allow_uids")) && line.to_string().contains('0');
    wait::until("a log line about it", SOON, || theirs.json_logs().iter().any(uid_in_log).then_some(()));
    assert_eq!(theirs.stop(SOON), STOPPED_WITH_EVENTS_LEFT);

    let ours = start(&[0]);
    ours.uds_client().post_json("/v1/events", &event()).expect(202);
    assert_eq!(post_as_other(&socket), "000", "the other user is not on the list");
    assert_eq!(buffered(&ours), 1);
    assert_eq!(ours.stop(SOON), STOPPED_WITH_EVENTS_LEFT);

    let everybody = start(&[]);
    everybody.uds_client().post_json("/v1/events", &event()).expect(202);
    assert_eq!(post_as_other(&socket), "202");
    assert_eq!(buffered(&everybody), 2);
}

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

fn builder() -> Builder {
    Relay::builder().kafka(&ports::address(ports::free()), "nowhere").set("shutdown.grace", "300ms")
}

fn event() -> Value {
    json!({"type": "t", "source_type": "s", "source_id": "1"})
}

fn socket_of(relay: &Relay) -> std::path::PathBuf {
    match relay.ingest_socket() {
        crate::support::socket::Address::Unix(path) => path,
        other @ crate::support::socket::Address::Tcp(_) => panic!("{other:?} is no socket"),
    }
}

fn buffered(relay: &Relay) -> u64 {
    relay.status()["buffer"]["ledger"]["backlog"].as_u64().expect("a backlog")
}

/// A folder that every user may enter, when this machine lets us be another user; else says why the test is skipped.
fn open_folder() -> Option<tempfile::TempDir> {
    let may = Command::new("setpriv").args(["--reuid", &OTHER_UID.to_string(), "--clear-groups", "curl", "--version"]).output();
    if !may.as_ref().is_ok_and(|output| output.status.success()) {
        println!("skipped: only root, with setpriv and curl, can post as another user ({may:?})");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    Some(dir)
}

/// Posts an event as another user; the status, `000` when there was no answer.
fn post_as_other(socket: &Path) -> String {
    let mut curl = Command::new("setpriv");
    curl.args(["--reuid", &OTHER_UID.to_string(), "--clear-groups", "curl", "--silent", "--max-time", "30", "--unix-socket"]).arg(socket);
    curl.args(["--output", "/dev/null", "--write-out", "%{http_code}", "--header", "content-type: application/json"]);
    curl.args(["--data", &event().to_string(), "http://localhost/v1/events"]);
    let output = curl.output().expect("setpriv runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
