//! The testbed's own Kubernetes: what its parts survive. Starts it, and needs root for that.

use std::process::Output;
use tidemill_testbed::kubernetes::{self, Cluster};

#[test]
fn data_outlives_the_processes_that_are_restarted() {
    let cluster = kubernetes::start().expect("Kubernetes starts");
    let name = format!("restarts-{}", std::process::id());
    let made = kubectl(&cluster, &["create", "configmap", &name, "--from-literal=tide=high"]);
    assert!(made.status.success(), "{made:?}");

    cluster.stop_apiserver().expect("the API server stops");
    assert!(!cluster.answers(), "the API server answers though it was stopped");
    cluster.start_apiserver().expect("the API server starts again");
    cluster.restart_kubelet().expect("the kubelet restarts");

    let kept = kubectl(&cluster, &["get", "configmap", &name, "-o", "jsonpath={.data.tide}"]);
    assert_eq!(String::from_utf8_lossy(&kept.stdout), "high", "{kept:?}");
    let pods =
        ["-n", "kube-system", "get", "pods", "-o", "jsonpath={.items[*].status.containerStatuses[*].restartCount}"];
    let restarts = kubectl(&cluster, &pods);
    assert_eq!(String::from_utf8_lossy(&restarts.stdout), "0", "containers go on while their kubelet restarts");

    let again = kubernetes::start().expect("a cluster that runs is used as it is");
    assert!(kubectl(&again, &["delete", "configmap", &name]).status.success());
}

fn kubectl(cluster: &Cluster, arguments: &[&str]) -> Output {
    cluster.kubectl().args(arguments).output().expect("kubectl is there")
}
