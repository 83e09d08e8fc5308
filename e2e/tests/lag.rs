//! Lag as the operator sees it, against a real broker: what offsets alone would get wrong.

use futures::future::join_all;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tidemill_e2e::{
    bed::{Bed, numbered},
    wait::until,
};
use tidemill_kafka::{
    Asked, ClusterObserver, Connection, Group, RecordWatch, Unknown,
    rdkafka::{
        Message, Offset, TopicPartitionList,
        admin::{AdminOptions, AlterConfig, ResourceSpecifier},
        consumer::{BaseConsumer, CommitMode, Consumer},
        producer::{BaseProducer, BaseRecord, Producer},
    },
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::spawn_blocking,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// What happens to a topic with one partition and 100 records, or to its group.
#[derive(Clone, Copy, Debug)]
enum Case {
    NothingCommitted,
    Committed(i64),
    /// The log was cut before this offset, by retention or by hand.
    CutAfterCommit {
        committed: i64,
        cut: i64,
    },
    CutWithoutCommit(i64),
    GroupDeleted,
    /// The topic was deleted and made anew with so many records.
    MadeAnew {
        committed: i64,
        records: usize,
    },
    /// The committed offset is beyond the end, as after a loss of records.
    BeyondTheEnd,
    /// All was read; then a transaction wrote its marker after so many records that were read too.
    MarkerOnlyTail(usize),
    /// All was read; then a transaction of so many records was aborted.
    AbortedTail(usize),
    /// A transaction is open: its records are not there yet.
    OpenTransaction(usize),
    /// All was read; then came an aborted transaction, and two records.
    RecordAfterAbort,
    /// All was read; then came so many records of one key, of which compaction left the last, and
    /// one of another key.
    Compacted(usize),
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lag_is_what_a_reader_would_get() {
    use Case as C;
    let bed = Bed::start("truth").await;
    let cases = [
        (C::NothingCommitted, 100),
        (C::Committed(60), 40),
        (C::Committed(100), 0),
        (C::CutAfterCommit { committed: 20, cut: 60 }, 40),
        (C::CutAfterCommit { committed: 80, cut: 60 }, 20),
        (C::CutWithoutCommit(70), 30),
        (C::GroupDeleted, 100),
        (C::MadeAnew { committed: 100, records: 30 }, 30),
        (C::BeyondTheEnd, 100),
        (C::MarkerOnlyTail(10), 0),
        (C::AbortedTail(10), 0),
        (C::OpenTransaction(10), 0),
        (C::RecordAfterAbort, 2),
        (C::Compacted(500), 2),
    ];
    let checks = cases.iter().enumerate().map(|(number, (case, expected))| {
        let bed = &bed;
        async move {
            let topic = bed.topic(&format!("t{number}"), 1, &[]).await;
            bed.produce(&topic, &numbered(100, 50, 1)).await;
            arrange(bed, &topic, *case).await;
            let lag = lag(&bed.connection, &topic, true).await;
            (lag != *expected).then(|| format!("{case:?}: {lag} instead of {expected}"))
        }
    });
    let wrong: Vec<String> = join_all(checks).await.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_without_records_is_found_behind_members_too() {
    let bed = Bed::start("behind").await;
    let topic = bed.topic("t", 1, &[]).await;
    arrange(&bed, &topic, Case::AbortedTail(3)).await;
    let connection = bed.connection.clone();
    let seen = spawn_blocking(move || {
        let mut observer = ClusterObserver::new(&connection).expect("an observer");
        let group = Group { id: topic.clone(), topics: vec![topic] };
        let started = Instant::now();
        let mut seen = Vec::new();
        while started.elapsed() < PATIENCE && seen.last() != Some(&0) {
            let asked = [Asked { group: &group, resting: false }];
            let lag = observer.look(&asked).expect("the broker answers").remove(0).expect("it is known");
            seen.push(lag.total());
            std::thread::sleep(Duration::from_millis(300));
        }
        seen
    });
    let seen = seen.await.expect("it does not panic");
    assert!(seen[0] > 0 && seen.last() == Some(&0), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_known_is_never_zero() {
    let bed = Bed::start("unknown").await;
    let missing = bed.unique("missing");
    let connection = bed.connection.clone();
    spawn_blocking(move || {
        let mut observer = ClusterObserver::new(&connection).expect("an observer");
        let group = Group { id: missing.clone(), topics: vec![missing.clone()] };
        let asked = [Asked { group: &group, resting: true }];
        let found = observer.look(&asked).expect("the broker answers").remove(0);
        assert!(matches!(&found, Err(Unknown::TopicNotFound(topic)) if *topic == missing), "{found:?}");
        // A broker that is not there: nothing is known, and nothing is said to be zero.
        let mut observer = ClusterObserver::new(&Connection::plaintext("127.0.0.1:1")).expect("an observer");
        assert!(observer.look(&asked).is_err());
    })
    .await
    .expect("it does not panic");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_groups_are_asked_for_together() {
    const GROUPS: i64 = 300;
    let bed = Bed::start("many").await;
    let topic = bed.topic("t", 1, &[]).await;
    bed.produce(&topic, &numbered(1_000, 50, 1)).await;
    let connection = bed.connection.clone();
    // Each client asks there first who the brokers are.
    let door = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let counted = Connection::plaintext(door.local_addr().expect("it is bound").to_string());
    let clients = Arc::new(AtomicUsize::new(0));
    tokio::spawn(pass_on(door, connection.bootstrap().to_owned(), clients.clone()));
    let took = spawn_blocking(move || {
        for number in 0..GROUPS {
            commit(&connection, &format!("{topic}.{number}"), &topic, number);
        }
        let groups: Vec<Group> =
            (0..GROUPS).map(|number| Group { id: format!("{topic}.{number}"), topics: vec![topic.clone()] }).collect();
        let asked: Vec<Asked<'_>> = groups.iter().map(|group| Asked { group, resting: false }).collect();
        let mut observer = ClusterObserver::new(&counted).expect("an observer");
        let started = Instant::now();
        let found = observer.look(&asked).expect("the broker answers");
        let took = started.elapsed();
        for (number, lag) in (0..).zip(found) {
            assert_eq!(lag.expect("it is known").total(), 1_000 - number);
        }
        took
    });
    let took = took.await.expect("it does not panic");
    let clients = clients.load(Ordering::Relaxed);
    println!("{GROUPS} groups were asked for in {took:?}, by way of {clients} connections");
    assert!((1..10).contains(&clients), "{clients} connections for {GROUPS} groups: there should be one client");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_on_a_resting_topic_is_heard_of_at_once() {
    let bed = Bed::start("wakes").await;
    let topic = bed.topic("t", 3, &[]).await;
    let other = bed.topic("u", 3, &[]).await;
    let connection = bed.connection.clone();
    let mut watch = RecordWatch::new(&connection).expect("a watch");
    let places = [&topic, &other].into_iter().flat_map(|topic| (0..3).map(|partition| ((topic.clone(), partition), 0)));
    watch.watch(&places.collect()).expect("it can be watched");
    let (sender, receiver) = std::sync::mpsc::channel();
    let listener = std::thread::spawn(move || {
        loop {
            let woken = watch.wait(Duration::from_millis(200)).expect("it can be waited for");
            if !woken.is_empty() && sender.send((Instant::now(), woken)).is_err() {
                return;
            }
        }
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(receiver.try_recv().is_err(), "nothing was produced yet");
    bed.produce(&topic, &numbered(1, 50, 1)).await;
    let produced = Instant::now();
    let (heard, woken) =
        spawn_blocking(move || receiver.recv_timeout(PATIENCE)).await.expect("it ends").expect("it is heard");
    let late = heard.saturating_duration_since(produced);
    println!("a first record was heard of {late:?} after it was acknowledged");
    assert_eq!(woken.into_iter().collect::<Vec<_>>(), [(topic.clone(), 0)]);
    assert!(late < Duration::from_millis(100), "{late:?}");
    drop(listener);
}

/// Brings topic and group (of the same name) to the case.
async fn arrange(bed: &Bed, topic: &str, case: Case) {
    let (connection, name) = (bed.connection.clone(), topic.to_owned());
    let admin = connection.admin().expect("an admin client");
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    let committed = |offset| {
        let (connection, name) = (connection.clone(), name.clone());
        spawn_blocking(move || commit(&connection, &name, &name, offset))
    };
    let cut = async |offset| {
        let mut places = TopicPartitionList::new();
        places.add_partition_offset(topic, 0, Offset::Offset(offset)).expect("an offset");
        admin.delete_records(&places, &options).await.expect("records can be deleted");
    };
    let transaction = |records, end| {
        let (connection, name) = (connection.clone(), name.clone());
        spawn_blocking(move || transaction(&connection, &name, records, end))
    };
    match case {
        Case::NothingCommitted => {}
        Case::Committed(offset) => committed(offset).await.expect("a commit"),
        Case::CutAfterCommit { committed: offset, cut: at } => {
            committed(offset).await.expect("a commit");
            cut(at).await;
        }
        Case::CutWithoutCommit(at) => cut(at).await,
        Case::GroupDeleted => {
            committed(90).await.expect("a commit");
            let deleted = admin.delete_groups(&[topic], &options).await.expect("the broker answers");
            deleted.into_iter().for_each(|group| drop(group.expect("it can be deleted")));
        }
        Case::MadeAnew { committed: offset, records } => {
            committed(offset).await.expect("a commit");
            let deleted = admin.delete_topics(&[topic], &options).await.expect("the broker answers");
            deleted.into_iter().for_each(|topic| drop(topic.expect("it can be deleted")));
            tokio::time::sleep(Duration::from_secs(1)).await;
            bed.make(topic, 1, &[]).await;
            bed.produce(topic, &numbered(records, 50, 1)).await;
        }
        Case::BeyondTheEnd => committed(5_000).await.expect("a commit"),
        Case::MarkerOnlyTail(records) => {
            transaction(records, End::Commit).await.expect("a transaction");
            committed(100 + i64::try_from(records).expect("small")).await.expect("a commit");
        }
        Case::AbortedTail(records) => {
            let end = lag(&bed.connection, topic, false).await;
            committed(end).await.expect("a commit");
            transaction(records, End::Abort).await.expect("a transaction");
        }
        Case::OpenTransaction(records) => {
            committed(100).await.expect("a commit");
            transaction(records, End::LeaveOpen).await.expect("a transaction");
        }
        Case::RecordAfterAbort => {
            committed(100).await.expect("a commit");
            transaction(1, End::Abort).await.expect("a transaction");
            bed.produce(topic, &numbered(2, 50, 1)).await;
        }
        Case::Compacted(records) => {
            committed(100).await.expect("a commit");
            compact(bed, topic, records).await;
        }
    }
}

/// Has the broker compact what comes after the first 100 records.
async fn compact(bed: &Bed, topic: &str, records: usize) {
    let settings = [("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0.001"), ("segment.ms", "1000")];
    let change = settings
        .into_iter()
        .fold(AlterConfig::new(ResourceSpecifier::Topic(topic)), |change, (name, value)| change.set(name, value));
    let admin = bed.connection.admin().expect("an admin client");
    let changed = admin.alter_configs(&[change], &AdminOptions::new()).await.expect("the broker answers");
    changed.into_iter().for_each(|topic| drop(topic.expect("it can be changed")));
    let keyed = |key: &str, count| {
        let mut all = numbered(count, 50, 1);
        all.iter_mut().for_each(|record| record.key = Some(key.to_owned().into()));
        all
    };
    bed.produce(topic, &keyed("same", records)).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    // It opens the segment that is not compacted.
    bed.produce(topic, &keyed("other", 1)).await;
    let first = 100 + i64::try_from(records).expect("small") - 1;
    until("the broker to compact it", Duration::from_secs(60), async || {
        tokio::time::sleep(Duration::from_secs(1)).await;
        (first_from(&bed.connection, topic, 100).await == first).then_some(())
    })
    .await;
}

/// The offset of the first record from there on, as a reader finds it.
async fn first_from(connection: &Connection, topic: &str, from: i64) -> i64 {
    let consumer: BaseConsumer = connection.observer(topic).expect("a consumer");
    let mut places = TopicPartitionList::new();
    places.add_partition_offset(topic, 0, Offset::Offset(from)).expect("an offset");
    spawn_blocking(move || {
        consumer.assign(&places).expect("it can be assigned");
        consumer.poll(PATIENCE).expect("there is one").expect("it can be read").offset()
    })
    .await
    .expect("reading does not panic")
}

async fn lag(connection: &Connection, topic: &str, resting: bool) -> i64 {
    let (connection, group) = (connection.clone(), Group { id: topic.to_owned(), topics: vec![topic.to_owned()] });
    let look = move || {
        let mut observer = ClusterObserver::new(&connection).expect("an observer");
        let asked = [Asked { group: &group, resting }];
        observer.look(&asked).expect("the broker answers").remove(0).expect("the lag is known").total()
    };
    spawn_blocking(look).await.expect("looking does not panic")
}

fn commit(connection: &Connection, group: &str, topic: &str, offset: i64) {
    let consumer: BaseConsumer = connection.observer(group).expect("a consumer");
    let mut places = TopicPartitionList::new();
    places.add_partition_offset(topic, 0, Offset::Offset(offset)).expect("an offset");
    consumer.commit(&places, CommitMode::Sync).expect("it is committed");
}

#[derive(Clone, Copy, Debug)]
enum End {
    Commit,
    Abort,
    LeaveOpen,
}

fn transaction(connection: &Connection, topic: &str, records: usize, end: End) {
    let producer: BaseProducer =
        connection.producer_config().set("transactional.id", topic).create().expect("a producer");
    producer.init_transactions(PATIENCE).expect("transactions");
    producer.begin_transaction().expect("a transaction");
    for _ in 0..records {
        let record: BaseRecord<'_, (), str> = BaseRecord::to(topic).partition(0).payload("uncertain");
        producer.send(record).map_err(|(error, _)| error).expect("it is taken");
    }
    producer.flush(PATIENCE).expect("they are there");
    match end {
        Commit => producer.commit_transaction(PATIENCE).expect("it is committed"),
        Abort => producer.abort_transaction(PATIENCE).expect("it is aborted"),
        // It stays open until its time-out, a minute later.
        LeaveOpen => std::mem::forget(producer),
    }
}
use End::{Abort, Commit, LeaveOpen};

/// Passes on to a broker, and counts what comes in.
async fn pass_on(door: TcpListener, broker: String, count: Arc<AtomicUsize>) {
    loop {
        let (mut coming, _) = door.accept().await.expect("it listens");
        count.fetch_add(1, Ordering::Relaxed);
        let broker = broker.clone();
        tokio::spawn(async move {
            let mut going = TcpStream::connect(broker).await.expect("the broker listens");
            // Whoever hangs up first ends it.
            if let Err(error) = copy_bidirectional(&mut coming, &mut going).await {
                println!("the door: {error}");
            }
        });
    }
}
