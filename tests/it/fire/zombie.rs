//! Guarantee G4 against a second relay on the same events.

use std::process::Command;

use serde_json::json;

use super::{SOON, drained};
use crate::support::{
    command::dualstream,
    consume::read_topic,
    kafka::{Kafka, unique},
    ports,
    relay::Relay,
    scratch,
};

// Goal: a relay that is started on a copy of another one's buffer is refused, and says what to do; once I say that the original is gone, the
// copy delivers what waited, once.
#[test]
fn a_relay_on_a_copy_is_refused() {
    let kafka = Kafka::shared();
    let topic = unique("zombie");
    kafka.create_topic(&topic, 1, 1, &[]);
    let original = Relay::builder().kafka(&ports::address(ports::free()), &topic).set("shutdown.grace", "300ms").start();
    for n in 0..20 {
        let event = json!({"id": format!("e{n}"), "type": "t", "source_type": "user", "source_id": "1"});
        original.client().post_json("/v1/events", &event).expect(202);
    }
    let folder = scratch::dir("copy");
    let copy = folder.path().join("buffer");
    let copied = Command::new("cp").arg("-a").arg(original.buffer_dir()).arg(&copy).status().unwrap();
    assert!(copied.success());
    let copy = copy.display().to_string();
    let second = || Relay::builder().kafka(&kafka.bootstrap(), &topic).set("buffer.dir", copy.as_str());
    let refused = second().run_to_exit(SOON);
    assert_ne!(refused.code, Some(0));
    let said = refused.lines.join("\n");
    assert!(said.contains("is a copy of another buffer directory") && said.contains("buffer adopt"), "{said}");

    original.kill9();
    let adopt = |more: &[&str]| dualstream([&["buffer", "adopt", "--dir", &copy], more].concat()).run().expect(0).stdout;
    assert!(adopt(&[]).starts_with("It is a copy. Nothing was changed"));
    assert!(second().run_to_exit(SOON).code != Some(0), "asking changed nothing");
    assert!(adopt(&["--yes"]).starts_with("Adopted"));
    let relay = second().start();
    drained(&relay);
    assert_eq!(read_topic(&kafka.bootstrap(), &topic).len(), 20);
    assert_eq!(relay.stop(SOON), 0);
}
