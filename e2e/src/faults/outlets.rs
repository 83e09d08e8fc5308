//! Reads what comes out, wherever it does, all the time: topics as a reader of what is committed,
//! Redis' streams, the bucket. Redis keeps only some ten thousand entries of a stream, so they
//! cannot be read at the end.

use super::{
    feed::number,
    groups::{BUCKET, Mode},
    ledger::{Outcome, Promise},
};
use crate::bed::Bed;
use base64::{Engine, engine::general_purpose::STANDARD};
use parking_lot::Mutex;
use redis::streams::StreamRangeReply;
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tidemill_kafka::{
    Connection,
    rdkafka::{
        Message, Offset, TopicPartitionList,
        consumer::{BaseConsumer, Consumer},
        message::{BorrowedMessage, Headers},
    },
};

/// How often Redis and the bucket are looked at.
const LOOK: Duration = Duration::from_millis(500);
/// A function whose invocation may take so long was called by a runner whose clock is ahead.
const AHEAD: u64 = 1_800_000;

/// What came out of each group, and what was seen of a clock that is wrong.
pub struct Came {
    /// What the input has: an idempotent producer may put a record there twice when its broker goes away.
    pub input: Outcome,
    /// For each group.
    pub outcomes: Vec<(Mode, Outcome)>,
    /// Records that a runner an hour ahead has caused, and one an hour behind.
    pub clocks: [usize; 2],
    /// Where the first output of each invocation came: keys have the same partition there as where they came from.
    events: HashMap<String, i32>,
    /// Whose invocations had records of several partitions, and which.
    spread: HashSet<(Mode, String)>,
}

/// The readers; they end when this is dropped.
pub struct Outlets {
    /// What came out so far.
    pub came: Arc<Mutex<Came>>,
    ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Came {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        let outcomes = Mode::ALL.map(|mode| (mode, Outcome::new(mode.promise()))).into();
        let input = Outcome::new(Promise::Once);
        Self { input, outcomes, clocks: [0; 2], events: HashMap::new(), spread: HashSet::new() }
    }

    /// A group's.
    pub fn of(&mut self, mode: Mode) -> &mut Outcome {
        let found = self.outcomes.iter_mut().find(|(of, _)| *of == mode);
        &mut found.expect("every group has one").1
    }

    /// How many of its invocations had records of several partitions.
    #[must_use]
    pub fn spread(&self, mode: Mode) -> usize {
        self.spread.iter().filter(|(of, _)| *of == mode).count()
    }

    /// An output of an invocation came to a partition.
    fn answered(&mut self, mode: Mode, request: &str, partition: i32) {
        let first = *self.events.entry(request.to_owned()).or_insert(partition);
        if first != partition {
            self.spread.insert((mode, request.to_owned()));
        }
    }

    /// A record of a group's came out of a topic at that time.
    pub fn record(&mut self, (mode, ordered): (Mode, bool), number: u64, at: i64) {
        if ordered {
            self.of(mode).came(number, at);
        } else {
            self.of(mode).came_in_any_order(number, at);
        }
    }
}

impl Default for Came {
    fn default() -> Self {
        Self::new()
    }
}

impl Outlets {
    /// Begins to read.
    #[must_use]
    pub fn start(bed: &Bed, input: &str, partitions: i32, redis: &str, s3: &Path) -> Self {
        let came = Arc::new(Mutex::new(Came::new()));
        let ended = Arc::new(AtomicBool::new(false));
        let topics = topics(bed);
        let streams = (0..partitions).map(|partition| format!("stream:{input}:{partition}")).collect();
        let (connection, redis, bucket) = (bed.connection.clone(), redis.to_owned(), s3.join(BUCKET));
        let read = {
            let (came, ended, input) = (came.clone(), ended.clone(), input.to_owned());
            move || read_topics(&connection, &input, &topics, partitions, &came, &ended)
        };
        let look = {
            let (came, ended) = (came.clone(), ended.clone());
            move || look_beside(&redis, streams, &bucket, &came, &ended)
        };
        Self { came, ended, threads: vec![std::thread::spawn(read), std::thread::spawn(look)] }
    }
}

impl Drop for Outlets {
    fn drop(&mut self) {
        self.ended.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                eprintln!("a reader of what comes out has panicked");
            }
        }
    }
}

/// Whose each topic is, and whether the order counts of what comes there.
#[must_use]
pub fn topics(bed: &Bed) -> BTreeMap<String, (Mode, bool)> {
    let both = |mode: Mode| {
        [(mode.output(bed), mode.is_ordered()), (mode.letters(bed), false)].map(|(topic, order)| (mode, topic, order))
    };
    let all = Mode::ALL.into_iter().flat_map(both);
    all.filter_map(|(mode, topic, order)| Some((topic?, (mode, order)))).collect()
}

fn read_topics(
    connection: &Connection,
    input: &str,
    topics: &BTreeMap<String, (Mode, bool)>,
    partitions: i32,
    came: &Mutex<Came>,
    ended: &AtomicBool,
) {
    let mut config = connection.client_config();
    config.set("group.id", "tidemill.faults").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.set("isolation.level", "read_committed").create().expect("a consumer");
    let mut places = TopicPartitionList::new();
    let all = topics.keys().map(String::as_str).chain([input]);
    for (topic, partition) in all.flat_map(|topic| (0..partitions).map(move |number| (topic, number))) {
        places.add_partition_offset(topic, partition, Offset::Beginning).expect("an offset");
    }
    consumer.assign(&places).expect("it can be assigned");
    // The next offset of each partition: a place that is read twice must not count twice.
    let mut next: HashMap<(String, i32), i64> = HashMap::new();
    while !ended.load(Relaxed) {
        // What fails is asked again by the client: brokers are away for a while.
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
        let place = next.entry((message.topic().to_owned(), message.partition())).or_default();
        if message.offset() < *place {
            continue;
        }
        *place = message.offset() + 1;
        take(&message, topics.get(message.topic()).copied(), &mut came.lock());
    }
}

/// A record that is of no group is the input's.
fn take(message: &BorrowedMessage<'_>, of: Option<(Mode, bool)>, came: &mut Came) {
    let value = message.payload().and_then(|bytes| std::str::from_utf8(bytes).ok());
    let number = value.and_then(number).expect("what comes out is what went in");
    let at = message.timestamp().to_millis().expect("brokers set it");
    let Some(of) = of else {
        came.input.came_in_any_order(number, at);
        return;
    };
    came.record(of, number, at);
    let headers = || message.headers().into_iter().flat_map(|headers| headers.iter());
    let told = |name| {
        let header = headers().find(|header| header.key == name)?;
        std::str::from_utf8(header.value?).ok()
    };
    if let Some(request) = told("request") {
        came.answered(of.0, request, message.partition());
    }
    match told("remaining").and_then(|text| text.parse::<u64>().ok()) {
        Some(AHEAD..) => came.clocks[0] += 1,
        Some(0) => came.clocks[1] += 1,
        _ => {}
    }
}

fn look_beside(redis: &str, streams: Vec<String>, bucket: &Path, came: &Mutex<Came>, ended: &AtomicBool) {
    let client = redis::Client::open(redis).expect("an address of Redis");
    let mut streams: Vec<_> = streams.into_iter().map(|stream| (stream, "-".to_owned())).collect();
    let mut connection = None;
    let mut kept = HashSet::new();
    while !ended.load(Relaxed) {
        let begun = Instant::now();
        // Without an answer it may be away: it is asked anew.
        connection = connection.or_else(|| client.get_connection_with_timeout(LOOK).ok());
        if let Some(open) = &mut connection
            && streams.iter_mut().try_for_each(|(stream, last)| read_stream(open, stream, last, came)).is_err()
        {
            connection = None;
        }
        for file in objects(bucket) {
            if kept.contains(&file) {
                continue;
            }
            // One that is being written is looked at again.
            if let Some(number) = kept_number(&file) {
                came.lock().of(Mode::S3).came_in_any_order(number, now());
                kept.insert(file);
            }
        }
        std::thread::sleep(LOOK.saturating_sub(begun.elapsed()));
    }
}

/// Takes what is new in a stream.
fn read_stream(
    connection: &mut redis::Connection,
    stream: &str,
    last: &mut String,
    came: &Mutex<Came>,
) -> redis::RedisResult<()> {
    let found: StreamRangeReply = redis::cmd("XRANGE").arg(stream).arg(&*last).arg("+").query(connection)?;
    let at = now();
    for entry in found.ids {
        let data: String = entry.get("data").expect("an entry has data");
        came.lock().of(Mode::Redis).came(number(&data).expect("what comes out is what went in"), at);
        *last = format!("({}", entry.id);
    }
    Ok(())
}

/// The bucket's objects.
fn objects(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let files = files.into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.chain(folders.iter().flat_map(|folder| objects(folder))).collect()
}

/// Whose record an object is.
fn kept_number(file: &Path) -> Option<u64> {
    let object: Value = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    let value = STANDARD.decode(object["valueBase64"].as_str()?).ok()?;
    number(std::str::from_utf8(&value).ok()?)
}

/// Milliseconds since 1970.
#[must_use]
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_millis() as i64
}
