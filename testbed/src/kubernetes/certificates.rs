//! The cluster's certificate authority, the certificates it signs and the kubeconfigs made of them:
//! new at every start, since that takes milliseconds.

use super::network::{ADDRESS, API_SERVER_PORT, NODE, SERVICE_ADDRESS};
use crate::authority::{Authority, Identity, private};
use anyhow::{Context, Result};
use base64::{Engine, prelude::BASE64_STANDARD};
use rcgen::KeyPair;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Who has a certificate: file, group, name.
const IDENTITIES: [(&str, &str, &str); 7] = [
    ("admin", "system:masters", "admin"),
    ("apiserver", "", "kube-apiserver"),
    ("apiserver-kubelet", "system:masters", "kube-apiserver-kubelet-client"),
    ("front-proxy", "", "front-proxy-client"),
    ("kube-controller-manager", "", "system:kube-controller-manager"),
    ("kube-scheduler", "", "system:kube-scheduler"),
    ("kube-proxy", "", "system:kube-proxy"),
];
/// Whose kubeconfig is in the folder of the same name.
const CLIENTS: [&str; 4] = ["kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet"];

/// Where the certificates are.
pub fn folder(state: &Path) -> PathBuf {
    state.join("pki")
}

/// Writes all of them.
pub fn write(state: &Path) -> Result<()> {
    let folder = folder(state);
    fs::create_dir_all(&folder)?;
    let authority = Authority::new("tidemill-testbed")?;
    fs::write(folder.join("ca.crt"), &authority.certificate)?;

    let accounts = KeyPair::generate()?;
    private(&folder.join("service-accounts.key"), &accounts.serialize_pem())?;
    fs::write(folder.join("service-accounts.pub"), accounts.public_key_pem())?;

    let kubelet = ("kubelet", "system:nodes", &*format!("system:node:{NODE}"));
    for (file, group, name) in IDENTITIES.into_iter().chain([kubelet]) {
        let identity = authority.sign(group, name, hosts()).with_context(|| format!("failed to certify {name}"))?;
        fs::write(folder.join(format!("{file}.crt")), &identity.certificate)?;
        private(&folder.join(format!("{file}.key")), &identity.key)?;
        let path = match file {
            "admin" => state.join("admin.conf"),
            _ if CLIENTS.contains(&file) => {
                fs::create_dir_all(state.join(file))?;
                state.join(file).join("kubeconfig")
            }
            _ => continue,
        };
        private(&path, &kubeconfig(&authority.certificate, &identity))?;
    }
    Ok(())
}

/// The names of every server: one certificate is a server's and a client's, as the kubelet is both.
fn hosts() -> impl Iterator<Item = String> {
    let service = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost", NODE];
    service.into_iter().chain(["127.0.0.1", ADDRESS, SERVICE_ADDRESS]).map(str::to_owned)
}

/// JSON is YAML; the certificates are in it, so that it may be copied elsewhere.
fn kubeconfig(authority: &str, identity: &Identity) -> String {
    let name = "tidemill-testbed";
    let encode = |pem: &str| BASE64_STANDARD.encode(pem);
    let config = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": name, "cluster": {
            "server": format!("https://{ADDRESS}:{API_SERVER_PORT}"),
            "certificate-authority-data": encode(authority),
        } }],
        "users": [{ "name": name, "user": {
            "client-certificate-data": encode(&identity.certificate),
            "client-key-data": encode(&identity.key),
        } }],
        "contexts": [{ "name": name, "context": { "cluster": name, "user": name } }],
        "current-context": name,
    });
    format!("{config:#}\n")
}
