//! A network namespace in which runners live, joined to this machine by one pair of interfaces.
//! Setting its end down cuts them off from the brokers: no packet passes, and nobody is told.
//!
//! In the namespace there is one route, to the address that brokers advertise to pods, and its
//! packets are led to this machine's loopback: nothing can leave the machine.

use super::programs;
use futures::future::join_all;
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};
use tidemill_testbed::{kubernetes, programs::run};

const NAME: &str = "tidemill-faults";
const OUTER: &str = "tmfaults0";
const INNER: &str = "tmfaults1";
const OUTER_ADDRESS: &str = "10.231.77.1";
const INNER_ADDRESS: &str = "10.231.77.2";
/// Seconds within which a connection to this machine is there, or will not be.
const CONNECTS: &str = "1";

/// The namespace, as long as it is held. Making one needs root.
#[derive(Debug)]
pub struct Network {
    rule: String,
    /// Of the brokers, as they are reached from inside.
    address: String,
    ports: Vec<String>,
}

impl Network {
    /// Makes it; brokers are reached on these of their addresses for pods.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[must_use]
    pub fn new(bootstrap_for_pods: &str) -> Self {
        let (address, _) = kubernetes::address_for_pods(0).rsplit_once(':').map(own).expect("an address and a port");
        let ports = bootstrap_for_pods.split(',').filter_map(|server| server.rsplit(':').next());
        let ports: Vec<_> = ports.map(str::to_owned).collect();
        let rule = format!(
            "PREROUTING -i {OUTER} -d {address}/32 -p tcp -m multiport --dports {} -j DNAT --to-destination 127.0.0.1",
            ports.join(",")
        );
        let network = Self { rule, address, ports };
        network.remove();
        programs(&format!("ip netns add {NAME}"));
        programs(&format!("ip link add {OUTER} type veth peer name {INNER} netns {NAME}"));
        programs(&format!("ip address add {OUTER_ADDRESS}/30 dev {OUTER}"));
        programs(&format!("ip link set {OUTER} up"));
        programs(&format!("ip -n {NAME} link set lo up"));
        programs(&format!("ip -n {NAME} address add {INNER_ADDRESS}/30 dev {INNER}"));
        programs(&format!("ip -n {NAME} link set {INNER} up"));
        programs(&format!("ip -n {NAME} route add {}/32 via {OUTER_ADDRESS}", network.address));
        // Without it the kernel drops what comes from there for loopback.
        let setting = format!("/proc/sys/net/ipv4/conf/{OUTER}/route_localnet");
        fs::write(setting, "1").expect("the interface has the setting");
        programs(&format!("iptables --wait 5 -t nat -I {}", network.rule));
        network
    }

    /// What a command begins with that is to run inside.
    #[must_use]
    pub fn inside(&self) -> [String; 4] {
        ["ip", "netns", "exec", NAME].map(str::to_owned)
    }

    /// Lets no packet pass, or lets them pass again.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn cut(&self, cut: bool) {
        programs(&format!("ip link set {OUTER} {}", if cut { "down" } else { "up" }));
    }

    /// Whether each of the brokers takes a connection from inside.
    pub async fn reaches(&self) -> Vec<bool> {
        join_all(self.ports.iter().map(|port| self.connects(port))).await
    }

    async fn connects(&self, port: &str) -> bool {
        let connect = format!("exec 3<>/dev/tcp/{}/{port}", self.address);
        let [ip, inside @ ..] = self.inside();
        let mut command = tokio::process::Command::new(ip);
        command.args(inside).args(["timeout", CONNECTS, "bash", "-c", &connect]);
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().await;
        status.expect("ip can be run").success()
    }

    /// Removes what there is of it.
    fn remove(&self) {
        let quietly = |words: &str| drop(run(Command::new("sh").args(["-c", words])));
        quietly(&format!("iptables --wait 5 -t nat -D {}", self.rule));
        if Path::new("/sys/class/net").join(OUTER).exists() {
            quietly(&format!("ip link delete {OUTER}"));
        }
        quietly(&format!("ip netns delete {NAME}"));
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.remove();
    }
}

fn own((address, port): (&str, &str)) -> (String, String) {
    (address.to_owned(), port.to_owned())
}
