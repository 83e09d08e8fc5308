//! The bridge of the pods and the rules of its traffic. Pods reach each other, the API server, the
//! kubelet and node ports; on the bridge's address they reach this machine's loopback, so that
//! services need not listen anywhere else. Nothing of theirs leaves the machine.

use crate::programs::{answer, run};
use anyhow::{Context, Result};
use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

/// The bridge's address, and the node's.
pub const ADDRESS: &str = "10.244.0.1";
/// The node's name.
pub const NODE: &str = "testbed";
/// Where the API server listens.
pub const API_SERVER_PORT: u16 = 16_443;
/// Addresses of pods.
pub const POD_RANGE: &str = "10.244.0.0/16";
/// Addresses of services.
pub const SERVICE_RANGE: &str = "10.96.0.0/16";
/// The API server's service.
pub const SERVICE_ADDRESS: &str = "10.96.0.1";
/// The DNS server's service.
pub const DNS_ADDRESS: &str = "10.96.0.10";
/// What the network plugin calls this network in its files.
pub const NETWORK: &str = "tidemill-testbed";

const BRIDGE: &str = "tidemill0";
const NODE_RANGE: &str = "10.244.0.0/24";
/// A bridge without a fixed one takes that of a pod, and changes it when the pod goes.
const BRIDGE_MAC: &str = "0a:58:0a:f4:00:01";
/// Chains of the cluster begin so.
const OWN_CHAINS: [&str; 2] = ["KUBE-", "TIDEMILL-"];

/// Where pods reach what listens on that port of this machine's loopback.
#[must_use]
pub fn address_for_pods(port: u16) -> String {
    format!("{ADDRESS}:{port}")
}

/// Makes the bridge, its rules and the network plugin's configuration.
pub fn up(state: &Path) -> Result<()> {
    let ip = |arguments: &str| run(Command::new("ip").args(arguments.split(' ')));
    ip(&format!("link add {BRIDGE} address {BRIDGE_MAC} type bridge"))
        .and_then(|()| ip(&format!("address add {ADDRESS}/24 dev {BRIDGE}")))
        .and_then(|()| ip(&format!("link set {BRIDGE} up")))
        .context("failed to make the pods' bridge")?;
    // Without it the kernel drops what comes from the bridge for loopback.
    fs::write(format!("/proc/sys/net/ipv4/conf/{BRIDGE}/route_localnet"), "1")?;
    restore("iptables", &rules())?;

    let folder = state.join("cni");
    fs::create_dir_all(&folder)?;
    let config = serde_json::json!({
        "cniVersion": "0.4.0",
        "name": NETWORK,
        "plugins": [{
            "type": "bridge",
            "bridge": BRIDGE,
            "isGateway": true,
            "hairpinMode": true,
            "ipam": {
                "type": "host-local",
                "dataDir": state.join("cni-addresses"),
                "ranges": [[{ "subnet": NODE_RANGE, "gateway": ADDRESS }]],
                "routes": [{ "dst": "0.0.0.0/0" }],
            },
        }],
    });
    fs::write(folder.join("10-pods.conflist"), config.to_string()).context("failed to configure the network plugin")
}

fn rules() -> String {
    // Node ports are left to kube-proxy, ports below 20000 to this machine.
    format!(
        "*nat
:TIDEMILL-PODS - [0:0]
-A TIDEMILL-PODS -d {ADDRESS}/32 -p tcp -m multiport --dports 20000:29999,32768:60999 -j DNAT --to-destination 127.0.0.1
-I PREROUTING -i {BRIDGE} -j TIDEMILL-PODS
COMMIT
*filter
:TIDEMILL-INPUT - [0:0]
-A TIDEMILL-INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN
-A TIDEMILL-INPUT -m conntrack --ctstate DNAT -j RETURN
-A TIDEMILL-INPUT -p icmp -j RETURN
-A TIDEMILL-INPUT -p tcp -m multiport --dports 10250,{API_SERVER_PORT} -j RETURN
-A TIDEMILL-INPUT -j REJECT
:TIDEMILL-FORWARD - [0:0]
-A TIDEMILL-FORWARD ! -o {BRIDGE} -j REJECT
-I INPUT -i {BRIDGE} -j TIDEMILL-INPUT
-I FORWARD -i {BRIDGE} -j TIDEMILL-FORWARD
COMMIT
"
    )
}

/// Removes the bridge, and the rules of this module and of kube-proxy.
pub fn down() -> Result<()> {
    if Path::new("/sys/class/net").join(BRIDGE).exists() {
        run(Command::new("ip").args(["link", "delete", BRIDGE])).context("failed to remove the pods' bridge")?;
    }
    for program in ["iptables", "ip6tables"] {
        let saved = answer(&mut Command::new(format!("{program}-save"))).context("failed to read the packet rules")?;
        if let Some(removal) = removal(&saved) {
            restore(program, &removal)?;
        }
    }
    Ok(())
}

/// What takes the cluster's chains out of the saved rules; `None` where there are none.
fn removal(saved: &str) -> Option<String> {
    let own = |name: &str| OWN_CHAINS.iter().any(|prefix| name.starts_with(prefix));
    let mut text = String::new();
    let (mut table, mut flush, mut delete, mut drop) = (String::new(), String::new(), String::new(), String::new());
    for line in saved.lines() {
        let mut words = line.split(' ');
        match words.next() {
            Some(first) if first.starts_with('*') => first.clone_into(&mut table),
            Some(first) if first.starts_with(':') && own(&first[1..]) => {
                // Naming a chain empties it, so that none of them is in use when they are dropped.
                flush += &format!("{first} - [0:0]\n");
                drop += &format!("-X {}\n", &first[1..]);
            }
            Some("-A") if !words.next().is_some_and(own) && line.rsplit_once("-j ").is_some_and(|(_, to)| own(to)) => {
                delete += &format!("-D{}\n", &line[2..]);
            }
            Some("COMMIT") if !flush.is_empty() => {
                text += &format!("{table}\n{flush}{delete}{drop}COMMIT\n");
                flush.clear();
                delete.clear();
                drop.clear();
            }
            _ => {}
        }
    }
    (!text.is_empty()).then_some(text)
}

/// Applies rules without touching those of others.
fn restore(program: &str, rules: &str) -> Result<()> {
    let mut process = Command::new(format!("{program}-restore"))
        .args(["--noflush", "--wait", "5"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("failed to start {program}-restore"))?;
    process.stdin.take().context("its input is a pipe")?.write_all(rules.as_bytes())?;
    let output = process.wait_with_output()?;
    anyhow::ensure!(
        output.status.success(),
        "{program}-restore refused the packet rules: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::removal;

    #[test]
    fn only_the_clusters_chains_are_removed() {
        let saved = "# Generated\n*nat\n:INPUT ACCEPT [0:0]\n:KUBE-SVC - [0:0]\n:DOCKER - [0:0]\n\
            -A INPUT -j DOCKER\n-A INPUT -m comment --comment \"a b\" -j KUBE-SVC\n-A KUBE-SVC -j ACCEPT\nCOMMIT\n\
            *filter\n:DOCKER - [0:0]\nCOMMIT\n";
        let expected =
            "*nat\n:KUBE-SVC - [0:0]\n-D INPUT -m comment --comment \"a b\" -j KUBE-SVC\n-X KUBE-SVC\nCOMMIT\n";
        assert_eq!(removal(saved).as_deref(), Some(expected));
        assert_eq!(removal("*nat\n:DOCKER - [0:0]\nCOMMIT\n"), None);
    }
}
