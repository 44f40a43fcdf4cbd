//! What the API server of Kubernetes says of a StatefulSet.
//!
//! Asks with what Kubernetes mounts into a pod: the account's token, and the CA that the server's certificate must come from.
//! Must not know what the answer is used for. Kubernetes API, `apps/v1`: GET of one object by namespace and name.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::http;

/// The largest token or file of CAs: a token has a few KB, a bundle of all public CAs 250.
const CREDENTIAL_BYTES_MAX: u64 = 1024 * 1024;

/// Where the API server is, and how to ask it.
pub(crate) struct ApiServer<'a> {
    /// Its address or name.
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    /// The folder with the files `token` and `ca.crt`.
    pub(crate) credentials: &'a Path,
    /// How long all of a question may take.
    pub(crate) patience: Duration,
}

/// Of a StatefulSet what is asked here. The API server fills in what its author left out.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub(crate) struct StatefulSet {
    metadata: Metadata,
    spec: Spec,
}

#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    deletion_timestamp: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
struct Spec {
    replicas: u32,
    #[serde(default)]
    ordinals: Ordinals,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default)]
struct Ordinals {
    start: u32,
}

impl StatefulSet {
    /// Whether it is on its way out as a whole.
    pub(crate) fn is_being_deleted(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// How many pods it is to have.
    pub(crate) fn replicas(&self) -> u32 {
        self.spec.replicas
    }

    /// Whether it is to have a pod of this number. Numbers begin with `spec.ordinals.start`, which may be raised later.
    pub(crate) fn wants(&self, ordinal: u32) -> bool {
        ordinal.checked_sub(self.spec.ordinals.start).is_some_and(|place| place < self.replicas())
    }
}

impl ApiServer<'_> {
    /// The StatefulSet of this name, if there is one. Nothing is changed by an error, which is one line.
    pub(crate) async fn stateful_set(&self, namespace: &str, name: &str) -> Result<Option<StatefulSet>, String> {
        let path = format!("/apis/apps/v1/namespaces/{namespace}/statefulsets/{name}");
        let answer = tokio::time::timeout(self.patience, self.get(&path))
            .await
            .map_err(|_elapsed| format!("no answer within {:?}", self.patience))??;
        match answer {
            (200, body) => serde_json::from_slice(&body)
                .map(Some)
                .map_err(|error| format!("the answer is not understood: {error}")),
            (404, _) => Ok(None),
            (status, _) => Err(format!("HTTP status {status}")),
        }
    }

    async fn get(&self, path: &str) -> Result<(u16, Vec<u8>), String> {
        let token = self.token()?;
        let server = ServerName::try_from(self.host.to_owned()).map_err(|error| format!("{}: {error}", self.host))?;
        let connector = TlsConnector::from(Arc::new(self.trust()?));
        let told = |error: std::io::Error| error.to_string();
        let stream = TcpStream::connect((self.host, self.port)).await.map_err(told)?;
        let stream = connector.connect(server, stream).await.map_err(told)?;
        let head = format!(
            "GET {path} HTTP/1.0\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nAccept: application/json\r\n\r\n",
            self.authority()
        );
        http::over(stream, &head).await.map_err(told)
    }

    /// Host and port, as a URL has them.
    fn authority(&self) -> String {
        match self.host.parse::<IpAddr>() {
            Ok(IpAddr::V6(address)) => format!("[{address}]:{}", self.port),
            _ => format!("{}:{}", self.host, self.port),
        }
    }

    fn token(&self) -> Result<String, String> {
        let token = self.credential("token")?;
        let token = std::str::from_utf8(&token).unwrap_or_default().trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!("{}: not a token", self.credentials.join("token").display()));
        }
        Ok(token.to_owned())
    }

    /// The cluster's own CAs are trusted, and no others.
    fn trust(&self) -> Result<ClientConfig, String> {
        let bundle = self.credential("ca.crt")?;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&bundle).filter_map(Result::ok));
        if roots.is_empty() {
            return Err(format!("{}: no certificate in it", self.credentials.join("ca.crt").display()));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        Ok(config.with_root_certificates(roots).with_no_client_auth())
    }

    fn credential(&self, name: &str) -> Result<Vec<u8>, String> {
        let path = self.credentials.join(name);
        let unreadable = |why: String| format!("{}: {why}", path.display());
        let size = fs::metadata(&path).map_err(|error| unreadable(error.to_string()))?.len();
        if size > CREDENTIAL_BYTES_MAX {
            return Err(unreadable(format!("{size} bytes are more than {CREDENTIAL_BYTES_MAX}")));
        }
        fs::read(&path).map_err(|error| unreadable(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(json: &str) -> StatefulSet {
        serde_json::from_str(json).expect("understood")
    }

    #[test]
    fn a_set_wants_the_numbers_from_its_start_on() {
        for (spec, wanted, unwanted) in [
            (r#"{"replicas": 3, "later": 1}"#, &[0, 1, 2][..], &[3, 9][..]),
            (r#"{"replicas": 0}"#, &[], &[0, 1]),
            (r#"{"replicas": 2, "ordinals": {"start": 5}}"#, &[5, 6], &[0, 4, 7]),
            (r#"{"replicas": 2, "ordinals": {}}"#, &[0, 1], &[2]),
            (r#"{"replicas": 4294967295, "ordinals": {"start": 4294967295}}"#, &[u32::MAX], &[0]),
        ] {
            let set = set(&format!(r#"{{"metadata": {{}}, "spec": {spec}}}"#));
            for (ordinals, expected) in [(wanted, true), (unwanted, false)] {
                for &ordinal in ordinals {
                    assert_eq!(set.wants(ordinal), expected, "{spec} {ordinal}");
                }
            }
        }
    }

    #[test]
    fn a_set_that_is_being_deleted_says_so() {
        let deleted =
            r#"{"metadata": {"name": "a", "deletionTimestamp": "2026-11-23T00:00:00Z"}, "spec": {"replicas": 3}}"#;
        assert!(set(deleted).is_being_deleted());
        assert!(!set(r#"{"metadata": {"name": "a"}, "spec": {"replicas": 3}}"#).is_being_deleted());
    }

    #[test]
    fn what_does_not_say_how_many_is_no_set() {
        for json in
            ["{}", "[]", "null", r#"{"metadata": {}, "spec": {}}"#, r#"{"metadata": {}, "spec": {"replicas": -1}}"#]
        {
            assert!(serde_json::from_str::<StatefulSet>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn an_address_is_written_as_in_a_url() {
        let authority =
            |host| ApiServer { host, port: 443, credentials: Path::new(""), patience: Duration::ZERO }.authority();
        assert_eq!(authority("10.0.0.1"), "10.0.0.1:443");
        assert_eq!(authority("fd00::1"), "[fd00::1]:443");
        assert_eq!(authority("kubernetes.default.svc"), "kubernetes.default.svc:443");
    }
}
