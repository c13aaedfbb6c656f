//! How serving ends.

use super::*;

const JSON: &str = "content-type: application/json\r\n";

fn in_a_minute() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

// Goal: a request in progress is answered, an idle connection is closed, nobody gets in any more, and the socket file is gone.
#[tokio::test]
async fn finishes_what_it_began() {
    let relay = Running::start(Behaviour::Held).await;
    let (address, socket, fake, counters) = (relay.address, relay.socket(), relay.fake.clone(), Arc::clone(&relay.stats));
    let (mut busy, mut idle) = (relay.connect().await, relay.connect().await);
    busy.write(&post("", JSON, EVENT)).await;
    fake.shared.begun.acquire().await.unwrap().forget();

    let stopping = relay.stop_by(in_a_minute());
    let client = async {
        assert!(idle.is_closed().await);
        assert!(TcpStream::connect(address).await.is_err());
        assert!(!socket.exists());
        fake.shared.released.add_permits(1);
        let (status, head, _) = busy.reply().await;
        assert_eq!(status, 202);
        assert!(head.contains("connection: close"), "{head}");
        assert!(busy.is_closed().await);
    };
    let (stopped, ()) = tokio::join!(stopping, client);
    assert_eq!(stopped, Stopped { finished: 2, cut_off: 0 });
    assert_eq!((fake.stored().len(), counters.connections.get()), (1, 0));
}

// Goal: the deadline holds, whatever a request waits for.
#[tokio::test]
async fn cuts_off_at_the_deadline() {
    let relay = Running::start(Behaviour::Held).await;
    let (mut busy, mut idle) = (relay.connect().await, relay.connect().await);
    busy.write(&post("", JSON, EVENT)).await;
    idle.write("").await;
    relay.fake.shared.begun.acquire().await.unwrap().forget();
    let fake = relay.fake.clone();
    let stopped = relay.stop_by(Instant::now() + Duration::from_millis(20)).await;
    assert_eq!(stopped.cut_off, 1);
    assert!(busy.is_closed().await && idle.is_closed().await);
    assert_eq!(fake.stored(), [""; 0]);
}

// Goal: a request that waits for Kafka is not left hanging when the relay stops: it is durable, and is told so.
#[tokio::test]
async fn answers_those_who_wait_for_kafka() {
    let relay = Running::start(Behaviour::Store).await;
    let fake = relay.fake.clone();
    let mut client = relay.connect().await;
    client.write(&post("?ack=kafka&timeout=5m", JSON, EVENT)).await;
    fake.shared.begun.acquire().await.unwrap().forget();
    let (stopped, (status, _, body)) = tokio::join!(relay.stop_by(in_a_minute()), client.reply());
    assert_eq!((status, stopped.cut_off), (202, 0));
    assert!(body.contains(r#""ack":"buffered""#));
}
