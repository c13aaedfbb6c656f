//! Idle connections give up everything but the socket.

use super::*;
use crate::ingest::{connection::Server, parking::PARK_AFTER};
use tokio::io::duplex;

// Goal: a thousand idle connections cost next to nothing, and each goes on working when its client comes back.
#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_parked_and_comes_back() {
    let (stop, stopping) = watch::channel(false);
    let topic = Template::parse("events", &[]).unwrap();
    let fake = Fake::new(Behaviour::Store);
    let api = Arc::new(Api::new(&IngestConfig::default(), &topic, Arc::default(), fake, Arc::default(), stopping.clone()));
    let server = Arc::new(Server::new(Arc::clone(&api)));
    let (near, far) = duplex(1 << 16);
    let (mut client, mut task) = (Client::new(near), JoinSet::new());
    task.spawn(Arc::clone(&server).serve(far, stopping));

    // hyper's state includes the handler, and so a handle on the service.
    let handles_when_parked = Arc::strong_count(&api);
    for _ in 0..3 {
        client.write(&post("", "content-type: application/json\r\n", EVENT)).await;
        assert_eq!(client.reply().await.0, 202);
        assert!(Arc::strong_count(&api) > handles_when_parked);
        // The paused clock moves on only when nothing else is to be done.
        tokio::time::sleep(PARK_AFTER * 3).await;
        assert_eq!(Arc::strong_count(&api), handles_when_parked);
    }
    stop.send_replace(true);
    assert!(client.is_closed().await);
}
