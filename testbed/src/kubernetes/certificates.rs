//! The cluster's certificate authority, the certificates it signs and the kubeconfigs made of them:
//! new at every start, since that takes milliseconds.

use super::network::{ADDRESS, API_SERVER_PORT, NODE, SERVICE_ADDRESS};
use anyhow::{Context, Result};
use base64::{Engine, prelude::BASE64_STANDARD};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
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
    let key = KeyPair::generate()?;
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(DnType::CommonName, "tidemill-testbed");
    let authority = parameters.self_signed(&key)?.pem();
    let issuer = Issuer::new(parameters, key);
    fs::write(folder.join("ca.crt"), &authority)?;

    let accounts = KeyPair::generate()?;
    private(&folder.join("service-accounts.key"), &accounts.serialize_pem())?;
    fs::write(folder.join("service-accounts.pub"), accounts.public_key_pem())?;

    let kubelet = ("kubelet", "system:nodes", &*format!("system:node:{NODE}"));
    for (file, group, name) in IDENTITIES.into_iter().chain([kubelet]) {
        let (certificate, key) = sign(&issuer, group, name).with_context(|| format!("failed to certify {name}"))?;
        fs::write(folder.join(format!("{file}.crt")), &certificate)?;
        private(&folder.join(format!("{file}.key")), &key)?;
        let path = match file {
            "admin" => state.join("admin.conf"),
            _ if CLIENTS.contains(&file) => {
                fs::create_dir_all(state.join(file))?;
                state.join(file).join("kubeconfig")
            }
            _ => continue,
        };
        private(&path, &kubeconfig(&authority, &certificate, &key))?;
    }
    Ok(())
}

/// One certificate is a server's and a client's: the kubelet is both.
fn sign(issuer: &Issuer<'_, KeyPair>, group: &str, name: &str) -> Result<(String, String)> {
    let service = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost", NODE];
    let names = service.into_iter().chain(["127.0.0.1", ADDRESS, SERVICE_ADDRESS]).map(str::to_owned);
    let mut parameters = CertificateParams::new(names.collect::<Vec<_>>())?;
    parameters.distinguished_name.push(DnType::CommonName, name);
    if !group.is_empty() {
        parameters.distinguished_name.push(DnType::OrganizationName, group);
    }
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate()?;
    Ok((parameters.signed_by(&key, issuer)?.pem(), key.serialize_pem()))
}

/// JSON is YAML; the certificates are in it, so that it may be copied elsewhere.
fn kubeconfig(authority: &str, certificate: &str, key: &str) -> String {
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
            "client-certificate-data": encode(certificate),
            "client-key-data": encode(key),
        } }],
        "contexts": [{ "name": name, "context": { "cluster": name, "user": name } }],
        "current-context": name,
    });
    format!("{config:#}\n")
}

fn private(path: &Path, text: &str) -> Result<()> {
    let mut options = fs::OpenOptions::new();
    options.create(true).truncate(true).write(true).mode(0o600);
    let mut file = options.open(path).with_context(|| format!("failed to make {}", path.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("failed to write {}", path.display()))
}
