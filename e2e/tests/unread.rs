//! Answers that come at the wrong moment. librdkafka asks where a group is, is told "not coordinator", and never asks
//! again: a runner that hears of that starts again. It asks where a log begins, and is told when the partition is
//! another's: then it reads it all the same, and the runner must not have that when the partition comes back.

use bytes::{Buf, BufMut, BytesMut};
use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tidemill_e2e::{
    bed::{Bed, numbered},
    runner::{Runner, echo},
    wait::{PATIENCE, until},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::Mutex,
    time::sleep,
};

const RECORDS: usize = 100;
/// <https://kafka.apache.org/protocol#The_Messages_ListOffsets>
const LIST_OFFSETS: i16 = 2;
/// <https://kafka.apache.org/protocol#The_Messages_OffsetFetch>
const OFFSET_FETCH: i16 = 9;
const NOT_COORDINATOR: i16 = 16;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_could_not_be_had_is_asked_for_again() {
    let bed = Bed::start("unread").await;
    let input = bed.topic("in", 2, &[]).await;
    let output = bed.topic("out", 2, &[]).await;
    bed.produce(&input, &numbered(RECORDS, 50, 2)).await;
    let refused = Arc::new(AtomicUsize::new(0));
    let door = Door::open(bed.connection.bootstrap(), Trouble::Refused, refused.clone()).await;
    let mut config = echo(&bed, &input, Some(&output));
    config.bootstrap_servers = door;

    let mut first = Runner::start(&config);
    until("the runner to give up", PATIENCE, async || first.has_ended().map(|status| assert!(!status.success()))).await;
    assert!(first.log().contains("would never be read"), "{}", first.log());

    // As a pod would be.
    let second = Runner::start(&config);
    let came = bed.records_when(&output, RECORDS).await;
    assert_eq!(came.len(), RECORDS);
    second.stop().await;
    bed.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_of_a_partition_that_was_not_ours_is_left() {
    let bed = Bed::start("stale").await;
    let input = bed.topic("in", 2, &[]).await;
    let output = bed.topic("out", 2, &[]).await;
    let config = echo(&bed, &input, Some(&output));
    let held = Arc::new(AtomicUsize::new(0));
    let door = Door::open(bed.connection.bootstrap(), Trouble::Late, held.clone()).await;
    let mut behind = config.clone();
    behind.bootstrap_servers = door;

    let first = Runner::start(&behind);
    until("it to ask where the logs begin", PATIENCE, async || (held.load(Ordering::Relaxed) > 0).then_some(())).await;
    let second = Runner::start(&config);
    let revoked = || first.log().contains("\"revoked\"");
    until("one of them to be the second's", PATIENCE, async || revoked().then_some(())).await;
    bed.produce(&input, &numbered(RECORDS, 50, 2)).await;
    assert_eq!(bed.records_when(&output, RECORDS).await.len(), RECORDS);
    // By now it has read what is not its: a little later than it could.
    sleep(LATE).await;
    second.stop().await;
    bed.produce(&input, &numbered(2, 50, 2)).await;
    let came = bed.records_when(&output, RECORDS + 2).await;
    first.stop().await;
    assert_eq!(came.len(), RECORDS + 2, "none of them twice");
    bed.remove().await;
}

/// How late answers are.
const LATE: Duration = Duration::from_secs(8);

/// What is wrong with the answers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// The first place of a group that is asked for is not told.
    Refused,
    /// Where a log begins is told late, the first time.
    Late,
}

/// Stands before a broker.
#[derive(Clone)]
struct Door {
    trouble: Trouble,
    /// `host:port` as the broker says it, and as its clients should know it: of the same length.
    names: [Vec<u8>; 2],
    count: Arc<AtomicUsize>,
    /// Which answers are meant, by their correlation ids.
    places: Arc<Mutex<HashSet<i32>>>,
}

impl Door {
    /// Answers where it is.
    async fn open(broker: &str, trouble: Trouble, count: Arc<AtomicUsize>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let own = listener.local_addr().expect("bound").to_string();
        let (broker, address) = (broker.to_owned(), own.clone());
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.expect("it listens");
                let behind = TcpStream::connect(&broker).await.expect("the broker listens");
                let names = [&broker, &address].map(|name| wire(name));
                let door = Self { trouble, names, count: count.clone(), places: Arc::default() };
                let ((from_client, to_client), (from_broker, to_broker)) = (client.into_split(), behind.into_split());
                tokio::spawn(door.clone().requests(from_client, to_broker));
                tokio::spawn(door.answers(from_broker, to_client));
            }
        });
        own
    }

    async fn requests(self, mut client: OwnedReadHalf, mut broker: OwnedWriteHalf) {
        while let Some(message) = read(&mut client).await {
            let mut header = &message[..];
            let (kind, _version, correlation) = (header.get_i16(), header.get_i16(), header.get_i32());
            let meant = match self.trouble {
                Trouble::Refused => OFFSET_FETCH,
                Trouble::Late => LIST_OFFSETS,
            };
            if kind == meant {
                self.places.lock().await.insert(correlation);
            }
            if write(&mut broker, &message).await.is_none() {
                return;
            }
        }
    }

    async fn answers(self, mut broker: OwnedReadHalf, mut client: OwnedWriteHalf) {
        let [said, known] = &self.names;
        while let Some(mut message) = read(&mut broker).await {
            let correlation = (&message[..]).get_i32();
            let is_meant = self.places.lock().await.remove(&correlation);
            if is_meant && self.count.fetch_add(1, Ordering::Relaxed) == 0 {
                match self.trouble {
                    Trouble::Refused => message = not_coordinator(&message),
                    Trouble::Late => sleep(LATE).await,
                }
            }
            while let Some(place) = message.windows(said.len()).position(|bytes| bytes == said) {
                message[place..place + said.len()].copy_from_slice(known);
            }
            if write(&mut client, &message).await.is_none() {
                return;
            }
        }
    }
}

/// A host and a port as brokers send them.
fn wire(address: &str) -> Vec<u8> {
    let (host, port) = address.split_once(':').expect("host:port");
    let port: u32 = port.parse().expect("a port");
    [host.as_bytes(), &port.to_be_bytes()].concat()
}

/// The answer (version 8 and above) as it would be from a broker that does not coordinate the group: no topics, and
/// an error.
fn not_coordinator(answer: &[u8]) -> BytesMut {
    // Correlation id, tags, throttling, one group, and the length of its name, which is short.
    let name = 4 + 1 + 4 + 1;
    let after = name + usize::from(answer[name]);
    let mut refused = BytesMut::from(&answer[..after]);
    refused.put_u8(1);
    refused.put_i16(NOT_COORDINATOR);
    refused.put_slice(&[0, 0]);
    refused
}

/// The next message, without its length; `None` when there is none any more.
async fn read(from: &mut OwnedReadHalf) -> Option<BytesMut> {
    let length = from.read_i32().await.ok()?;
    let mut message = BytesMut::zeroed(usize::try_from(length).expect("a length"));
    from.read_exact(&mut message).await.ok()?;
    Some(message)
}

async fn write(to: &mut OwnedWriteHalf, message: &[u8]) -> Option<()> {
    to.write_i32(i32::try_from(message.len()).expect("a length")).await.ok()?;
    to.write_all(message).await.ok()
}
