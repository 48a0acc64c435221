//! rust-mqtt over our connection: says something to a topic it listens to itself.

use alloc::{
    format,
    string::{String, ToString},
};
use core::net::SocketAddr;
use rust_mqtt::{
    Bytes,
    buffer::AllocBuffer,
    client::{
        Client,
        event::Event,
        options::{ConnectOptions, DisconnectOptions, PublicationOptions, SubscriptionOptions, TopicReference},
    },
    types::{MqttString, TopicFilter, TopicName},
};
use unikernel_net::{Stack, Stream};

const TOPIC: &str = "unikernel/said";

type Mqtt<'a> = Client<'a, 'a, Stream, AllocBuffer, 1, 1, 1, 1, 1, 0, 0>;

/// Publishes `text` with quality of service 2, and waits until it was received back, once.
pub async fn round_trip(stack: &Stack, broker: Option<SocketAddr>, text: &str) -> Result<String, String> {
    let broker = broker.ok_or("start with the boot argument `mqtt=ADDR:PORT`")?;
    let stream = stack.connect(broker).await.map_err(|error| error.to_string())?;
    let mut buffer = AllocBuffer;
    let mut client = Mqtt::new(&mut buffer);
    let failed = |what: &str| format!("rust-mqtt cannot {what}");
    let options = ConnectOptions::new().clean_start();
    client.connect(stream, &options, None).await.map_err(|error| format!("{}: {error:?}", failed("connect")))?;
    subscribe(&mut client).await.map_err(|()| failed("subscribe"))?;
    let received = publish(&mut client, text).await.map_err(|()| failed("publish"))?;
    client.disconnect(&DisconnectOptions::new()).await.map_err(|_| failed("disconnect"))?;
    Ok(received)
}

async fn subscribe(client: &mut Mqtt<'_>) -> Result<(), ()> {
    let topic = TopicFilter::new(topic()).ok_or(())?;
    client.subscribe(topic, &SubscriptionOptions::new().exactly_once()).await.map_err(|_| ())?;
    match client.poll().await {
        Ok(Event::Suback(_)) => Ok(()),
        _ => Err(()),
    }
}

/// What came back, when the broker has confirmed ours too.
async fn publish(client: &mut Mqtt<'_>, text: &str) -> Result<String, ()> {
    let topic = TopicReference::Name(TopicName::new(topic()).ok_or(())?);
    let options = PublicationOptions::new(topic).exactly_once();
    client.publish(&options, Bytes::from(text.as_bytes())).await.map_err(|_| ())?;
    let (mut received, mut is_complete) = (None, false);
    loop {
        match client.poll().await.map_err(|_| ())? {
            Event::Publish(message) => received = Some(String::from_utf8_lossy(&message.message).into_owned()),
            Event::PublishComplete(_) => is_complete = true,
            _ => {}
        }
        if let (Some(text), true) = (&received, is_complete) {
            return Ok(text.clone());
        }
    }
}

fn topic() -> MqttString<'static> {
    MqttString::from_str(TOPIC).expect("is short")
}
