//! Answers that come at the wrong moment. librdkafka asks where a group is, is told "not coordinator", and never asks
//! again: a runner that hears of that starts again. It asks where a log begins, and is told when the partition is
//! another's: then it reads it all the same, and the runner must not have that when the partition comes back. It is told
//! late what its partitions are: meanwhile it must not say that it has none, or others get them as well.

use bytes::{Buf, BufMut, BytesMut};
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tidemill_e2e::{
    bed::{Bed, numbered},
    runner::{Runner, with},
    scene::Scene,
    wait::{PATIENCE, until},
};
use tidemill_runner::config::Config;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Mutex, watch},
    time::sleep,
};

const RECORDS: usize = 100;
/// <https://kafka.apache.org/protocol#The_Messages_ListOffsets>
const LIST_OFFSETS: i16 = 2;
/// <https://kafka.apache.org/protocol#The_Messages_OffsetFetch>
const OFFSET_FETCH: i16 = 9;
/// <https://kafka.apache.org/protocol#The_Messages_ConsumerGroupHeartbeat>
const HEARTBEAT: i16 = 68;
const NOT_COORDINATOR: i16 = 16;
const SLOW: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_could_not_be_had_is_asked_for_again() {
    let Scene { bed, input, output, config, .. } = Scene::set("unread", 2).await;
    bed.produce(&input, &numbered(RECORDS, 50, 2)).await;
    let refused = Arc::new(AtomicUsize::new(0));
    let door = Door::open(bed.connection.bootstrap(), Trouble::Refused, refused.clone()).await;
    let config = Config { bootstrap_servers: door, ..config };

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
    let Scene { bed, input, output, config, .. } = Scene::set("stale", 2).await;
    let Late { first, second, release, places } = late(&bed, &config).await;
    bed.produce(&input, &numbered(RECORDS, 50, 2)).await;
    // The second's half; the first waits for where its own begins.
    bed.records_when(&output, RECORDS / 2).await;
    release.send_replace(true);
    bed.records_when(&output, RECORDS).await;
    // By now it has read what is not its.
    sleep(SETTLED).await;
    // When it is told, librdkafka gives what it had read before that to nobody.
    places.send_replace(false);
    second.stop().await;
    let left = || first.log().contains("records of an earlier assignment are left");
    until("it to meet what it had read", PATIENCE, async || left().then_some(())).await;
    places.send_replace(true);
    bed.produce(&input, &numbered(2, 50, 2)).await;
    bed.records_when(&output, RECORDS + 2).await;
    sleep(SETTLED).await;
    assert_eq!(bed.records(&output).await.len(), RECORDS + 2, "none of them twice");
    first.stop().await;
    bed.remove().await;
}

/// The same, but the partition is the first's again, and read, before librdkafka goes back in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_is_read_from_its_beginning_again_has_the_runner_start_again() {
    let Scene { bed, input, output, config, .. } = Scene::set("rewound", 2).await;
    let Late { mut first, second, release, .. } = late(&bed, &config).await;
    bed.produce(&input, &numbered(RECORDS, 50, 2)).await;
    bed.records_when(&output, RECORDS / 2).await;
    second.stop().await;
    bed.produce(&input, &numbered(2, 50, 2)).await;
    bed.records_when(&output, RECORDS / 2 + 1).await;
    release.send_replace(true);
    until("it to give up", PATIENCE, async || first.has_ended().map(|status| assert!(!status.success()))).await;
    assert!(first.log().contains("read before"), "{}", first.log());

    // As a pod would be.
    let third = Runner::start(&config);
    bed.records_when(&output, RECORDS + 2).await;
    sleep(SETTLED).await;
    assert_eq!(bed.records(&output).await.len(), RECORDS + 2, "none of them twice");
    third.stop().await;
    bed.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_a_member_hears_of_late_are_not_anothers_too() {
    let Scene { bed, input, output, config, .. } = Scene::set("slow", 4).await;
    // A batch is in work for so long that another who has its partition does it, too.
    let config = with(config, "SLEEP_MS", "500");
    bed.produce(&input, &numbered(RECORDS, 50, 4)).await;
    let (held, release) = (Arc::new(AtomicUsize::new(0)), watch::Sender::new(false));
    let trouble = Trouble::Late(vec![Hold { later: SLOW, ..Hold::new(HEARTBEAT, usize::MAX, &release) }]);
    let door = Door::open(bed.connection.bootstrap(), trouble, held.clone()).await;
    let first = Runner::start(&Config { bootstrap_servers: door, ..config.clone() });
    until("it to join", PATIENCE, async || (held.load(Ordering::Relaxed) > 0).then_some(())).await;
    let told = Arc::new(AtomicUsize::new(0));
    let door = Door::open(bed.connection.bootstrap(), Trouble::Nothing, told.clone()).await;
    let second = Runner::start(&Config { bootstrap_servers: door, ..config });
    // What the first gave back now would be the second's at once.
    until("the second to be a member", PATIENCE, async || (told.load(Ordering::Relaxed) > 0).then_some(())).await;
    assert!(!first.log().contains("\"assigned\""), "it has not heard of its partitions: {}", first.log());
    release.send_replace(true);
    bed.records_when(&output, RECORDS).await;
    let revoked = || first.log().contains("\"revoked\"");
    until("half of them to be the second's", PATIENCE, async || revoked().then_some(())).await;
    sleep(SETTLED).await;
    let logs = format!("{}\n{}", first.log(), second.log());
    assert_eq!(bed.records(&output).await.len(), RECORDS, "none of them twice: {logs}");
    first.stop().await;
    second.stop().await;
    bed.remove().await;
}

/// In which librdkafka asks again where a log begins, and reads it.
const SETTLED: Duration = Duration::from_secs(3);

/// Two runners of a new group, the first of which waits to hear where the logs begin, also of the partition that is
/// the second's meanwhile.
struct Late {
    first: Runner,
    second: Runner,
    /// Has it hear that.
    release: watch::Sender<bool>,
    /// Whether its librdkafka hears, for itself, what the group has committed.
    places: watch::Sender<bool>,
}

async fn late(bed: &Bed, config: &Config) -> Late {
    let (held, release) = (Arc::new(AtomicUsize::new(0)), watch::Sender::new(false));
    let places = watch::Sender::new(true);
    // Of the two that ask what is committed of a partition that was assigned, librdkafka is the first.
    let trouble =
        Trouble::Late(vec![Hold::new(LIST_OFFSETS, usize::MAX, &release), Hold::new(OFFSET_FETCH, 1, &places)]);
    let door = Door::open(bed.connection.bootstrap(), trouble, held.clone()).await;
    let mut behind = config.clone();
    behind.bootstrap_servers = door;
    let first = Runner::start(&behind);
    until("it to ask where the logs begin", PATIENCE, async || (held.load(Ordering::Relaxed) > 0).then_some(())).await;
    let second = Runner::start(config);
    let revoked = || first.log().contains("\"revoked\"");
    until("one of them to be the second's", PATIENCE, async || revoked().then_some(())).await;
    Late { first, second, release, places }
}

/// What is wrong with the answers.
#[derive(Clone)]
enum Trouble {
    /// The first place of a group that is asked for is not told.
    Refused,
    /// Answers come late.
    Late(Vec<Hold>),
    /// None: it counts what the coordinator has said to members.
    Nothing,
}

/// Answers that are told only once `release` is true.
#[derive(Clone)]
struct Hold {
    /// The kind of their requests.
    kind: i16,
    /// How many of them may be held while others go past.
    left: Arc<AtomicUsize>,
    release: watch::Receiver<bool>,
    /// How much later still, and so with each that is asked for after that.
    later: Duration,
}

impl Hold {
    fn new(kind: i16, most: usize, release: &watch::Sender<bool>) -> Self {
        Self { kind, left: Arc::new(most.into()), release: release.subscribe(), later: Duration::ZERO }
    }

    /// Whether the answer to such a request is to be held.
    fn takes(&self, kind: i16) -> bool {
        let one_less = |left: usize| left.checked_sub(1);
        kind == self.kind
            && (!self.later.is_zero() || !*self.release.borrow())
            && self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
    }
}

impl Trouble {
    /// Which of its answers a request gets, by their number; none where it is about other requests.
    fn meant(&self, kind: i16) -> Option<usize> {
        match self {
            Self::Refused => (kind == OFFSET_FETCH).then_some(0),
            Self::Late(holds) => holds.iter().position(|hold| hold.takes(kind)),
            Self::Nothing => (kind == HEARTBEAT).then_some(0),
        }
    }
}

/// Stands before a broker.
#[derive(Clone)]
struct Door {
    trouble: Trouble,
    /// `host:port` as the broker says it, and as its clients should know it: of the same length.
    names: [Vec<u8>; 2],
    count: Arc<AtomicUsize>,
    /// Which answers are meant, by their correlation ids, and in which way.
    meant: Arc<Mutex<HashMap<i32, usize>>>,
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
                let (trouble, count) = (trouble.clone(), count.clone());
                let door = Self { trouble, names, count, meant: Arc::default() };
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
            if let Some(way) = self.trouble.meant(kind) {
                self.meant.lock().await.insert(correlation, way);
            }
            if write(&mut broker, &message).await.is_none() {
                return;
            }
        }
    }

    async fn answers(self, mut broker: OwnedReadHalf, client: OwnedWriteHalf) {
        let client = Arc::new(Mutex::new(client));
        let [said, known] = &self.names;
        while let Some(mut message) = read(&mut broker).await {
            let correlation = (&message[..]).get_i32();
            while let Some(place) = message.windows(said.len()).position(|bytes| bytes == said) {
                message[place..place + said.len()].copy_from_slice(known);
            }
            let meant = self.meant.lock().await.remove(&correlation);
            let before = (meant == Some(0)).then(|| self.count.fetch_add(1, Ordering::Relaxed));
            match (&self.trouble, meant) {
                (Trouble::Refused, _) if before == Some(0) => message = not_coordinator(&message),
                (Trouble::Late(holds), Some(way)) => {
                    // Others go past it.
                    let (Hold { mut release, later, .. }, client) = (holds[way].clone(), client.clone());
                    tokio::spawn(async move {
                        drop(release.wait_for(|released| *released).await);
                        sleep(later).await;
                        write(&mut *client.lock().await, &message).await
                    });
                    continue;
                }
                _ => {}
            }
            if write(&mut *client.lock().await, &message).await.is_none() {
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
