//! What is counted is described: in `/metrics` of a runner at work, and in docs/metrics.md.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};
use tidemill_e2e::{
    bed::{Bed, numbered},
    kube,
    runner::{Runner, echo, with},
};
use tidemill_service::metrics::table;

#[test]
fn the_document_has_what_the_programs_count() {
    let path = kube::root().join("docs/metrics.md");
    let committed = fs::read_to_string(&path).expect("the document is there");
    let mut current = committed.clone();
    let programs = [
        ("runner", tidemill_runner::metrics::ALL),
        ("operator", tidemill_operator::metrics::ALL),
        ("edge", tidemill_edge::METRICS),
    ];
    for (name, all) in programs {
        let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->\n"));
        let (before, rest) = current.split_once(&begin).expect("the document has a place for it");
        let (_, after) = rest.split_once(&end).expect("its place has an end");
        current = format!("{before}{begin}{}{end}{after}", table(all));
    }
    if std::env::var_os("WRITE_METRICS").is_some() {
        fs::write(&path, current).expect("the document can be written");
        return;
    }
    assert!(committed == current, "docs/metrics.md is not current: run this test with WRITE_METRICS=1");
}

/// Operators and edges would have to do everything that they can count to be compared as a runner is.
#[test]
fn nothing_is_counted_that_no_program_describes() {
    // The first text of a call, where that is one of ours.
    let name = |call: &str| call.split('"').nth(1).filter(|name| name.starts_with("tidemill_")).map(str::to_owned);
    for (program, all) in [("runner", tidemill_runner::metrics::ALL), ("operator", tidemill_operator::metrics::ALL)] {
        let described: BTreeSet<_> = all.iter().map(|metric| metric.name().to_owned()).collect();
        let mut counted = BTreeSet::new();
        for file in sources(&kube::root().join(program).join("src")) {
            let text = fs::read_to_string(&file).expect("a source can be read");
            let calls = ["counter!(", "gauge!(", "histogram!("].iter().flat_map(|call| text.split(*call).skip(1));
            counted.extend(calls.filter_map(|call| name(call.split(')').next()?)));
        }
        assert_eq!(counted, described, "{program}");
    }
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let of = |path: PathBuf| if path.is_dir() { sources(&path) } else { vec![path] };
    entries.flat_map(of).filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_at_work_counts_nothing_that_it_does_not_describe() {
    let bed = Bed::start("described").await;
    let (input, output) = (bed.topic("in", 3, &[]).await, bed.topic("out", 3, &[]).await);
    let mut runner = Runner::start(&with(echo(&bed, &input, Some(&output)), "FAIL_ON", "0000002 "));
    runner.report("its start", |report| report.ready).await;
    let (_, at_rest) = runner.admin("/metrics").await;
    bed.produce(&input, &numbered(30, 50, 3)).await;
    bed.drained(&input, &input).await;
    let (_, at_work) = runner.admin("/metrics").await;
    runner.stop().await;

    assert!(
        counts(&at_work).any(|line| line == "tidemill_runner_records_total{outcome=\"dead_lettered\"} 1"),
        "{at_work}"
    );
    let described = |text: &str| -> BTreeSet<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix("# HELP "));
        lines.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
    };
    let (names, before) = (described(&at_work), described(&at_rest));
    for line in counts(&at_work) {
        let series = line.split(' ').next().expect("a name");
        let family = series.split('{').next().expect("a name");
        let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|part| family.strip_suffix(part));
        assert!(names.contains(family) || of_histogram.is_some_and(|name| names.contains(name)), "{line}");
        // A series that begins with its first failure is no increase to whoever asks for one.
        assert!(
            of_histogram.is_some() || counts(&at_rest).any(|line| line.starts_with(&format!("{series} "))),
            "{line}"
        );
    }
    let missing: Vec<_> =
        tidemill_runner::metrics::ALL.iter().filter(|metric| !names.contains(metric.name())).collect();
    assert!(missing.is_empty() && before == names, "{missing:?} {before:?}");
}

fn counts(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.starts_with('#') && !line.is_empty())
}
