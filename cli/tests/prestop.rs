//! `memring prestop` against an API server with a made-up CA, and a node of a ring of two. Must not know how a node drains.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

mod real;

use real::{Node, eventually, memring};

/// How a line begins that says why nobody was asked.
const UNREACHABLE: &str = "the API server cannot be asked, taken for a restart: ";

/// What an account's token looks like, as far as HTTP cares.
const TOKEN: &str = "eyJ.made-up.token_";

/// A CA and the certificate of a server at 127.0.0.1 that it has signed.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self { issuer: CertifiedIssuer::self_signed(params, key).expect("a CA") }
    }

    fn server(&self) -> Arc<ServerConfig> {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("names");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth();
        Arc::new(config.with_single_cert(vec![certificate.der().clone()], key).expect("a certificate"))
    }

    /// What is mounted into a pod.
    fn credentials(&self, folder: &Path) {
        std::fs::write(folder.join("ca.crt"), self.issuer.pem()).expect("written");
        std::fs::write(folder.join("token"), format!("{TOKEN}\n")).expect("written");
    }
}

/// Answers one request with `answer` if it is for the StatefulSet, and gives back what was asked. `None` never answers.
fn serve_once(listener: TcpListener, config: Arc<ServerConfig>, answer: Option<String>) -> String {
    let (stream, _) = listener.accept().expect("asked");
    let mut stream = StreamOwned::new(ServerConnection::new(config).expect("a server"), stream);
    let mut asked = Vec::new();
    let mut byte = [0];
    while !asked.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1..) => asked.push(byte[0]),
            // The client did not like the certificate.
            _ => return String::new(),
        }
    }
    match answer {
        Some(answer) => {
            stream.write_all(answer.as_bytes()).expect("answered");
            // An answer that tells its length may end without a word.
            if !answer.contains("Content-Length") {
                stream.conn.send_close_notify();
            }
            stream.flush().expect("answered");
        }
        // Until the client gives up.
        None => while matches!(stream.read(&mut byte), Ok(1..)) {},
    }
    String::from_utf8(asked).expect("text")
}

/// The StatefulSet, with this in its `spec`.
fn set(spec: &str) -> String {
    let body = format!(r#"{{"kind": "StatefulSet", "metadata": {{"name": "memring"}}, "spec": {{{spec}}}}}"#);
    format!("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Runs the hook of pod `memring-2` with an API server that gives this answer: what it said, and what it asked.
fn prestop(arguments: &[&str], authority: &Authority, trusted: &Authority, answer: Option<String>) -> (String, String) {
    let folder = tempfile::tempdir().expect("a folder");
    trusted.credentials(folder.path());
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port().to_string();
    let config = authority.server();
    let server = std::thread::Builder::new().spawn(move || serve_once(listener, config, answer)).expect("a thread");
    let credentials = folder.path().to_string_lossy();
    let output = memring(&["prestop", "--credentials", &credentials])
        .args(arguments)
        .env("MEMRING_STATEFULSET", "memring")
        .env("POD_NAME", "memring-2")
        .env("POD_NAMESPACE", "cache")
        .env("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        .env("KUBERNETES_SERVICE_PORT", port)
        .output()
        .expect("it runs");
    let Output { status, stdout, stderr } = output;
    assert_eq!((status.code(), text(&stderr)), (Some(0), ""));
    (text(&stdout).to_owned(), server.join().expect("served"))
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

#[test]
fn a_pod_that_comes_back_and_a_set_that_goes_drain_nothing() {
    let authority = Authority::new();
    let back = || "the pod is back soon: nothing to drain".to_owned();
    let gone = || "statefulset memring is deleted: nothing to drain".to_owned();
    let unreachable = |why: &str| format!("{UNREACHABLE}{why}");
    let going = r#"{"metadata": {"deletionTimestamp": "2026-11-23T00:00:00Z"}, "spec": {"replicas": 0}}"#;
    for (answer, line) in [
        (set(r#""replicas": 3"#), back()),
        (set(r#""replicas": 1, "ordinals": {"start": 2}"#), back()),
        (format!("HTTP/1.0 200 OK\r\n\r\n{going}"), gone()),
        ("HTTP/1.0 404 Not Found\r\n\r\n{}".to_owned(), gone()),
        ("HTTP/1.0 403 Forbidden\r\n\r\n{}".to_owned(), unreachable("HTTP status 403")),
        ("rubbish".to_owned(), unreachable("not an HTTP answer")),
        (set(""), unreachable("the answer is not understood: missing field `replicas`")),
    ] {
        // Nobody listens on port 1: a drain that is begun is told.
        let (said, asked) = prestop(&["--admin", "127.0.0.1:1"], &authority, &authority, Some(answer.clone()));
        assert!(said.starts_with(&format!("prestop: {line}")) && said.lines().count() == 1, "{answer}: {said}");
        assert!(asked.starts_with("GET /apis/apps/v1/namespaces/cache/statefulsets/memring HTTP/1.0\r\n"), "{asked}");
        assert!(asked.contains(&format!("\r\nAuthorization: Bearer {TOKEN}\r\n")), "{asked}");
    }
}

#[test]
fn an_api_server_that_says_nothing_or_is_not_the_clusters_counts_as_a_restart() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (said, _) = prestop(&["--api-wait", "200ms"], &authority, &authority, None);
    assert_eq!(said, format!("prestop: {UNREACHABLE}no answer within 200ms\n"));
    let (said, asked) = prestop(&[], &authority, &other, Some(set(r#""replicas": 1"#)));
    assert!(said.starts_with(&format!("prestop: {UNREACHABLE}invalid peer certificate")), "{said}");
    assert_eq!(asked, "", "the token is for the cluster's own server");
}

#[test]
fn without_a_set_or_an_api_server_nothing_is_drained() {
    let pod = &["--statefulset", "a", "--pod", "a-1", "--namespace", "b"][..];
    let nowhere = &["--api-host", "127.0.0.1", "--credentials", "/nowhere"][..];
    for (arguments, line) in [
        (vec![], "no StatefulSet is named: taken for a restart".to_owned()),
        (pod.to_vec(), format!("{UNREACHABLE}KUBERNETES_SERVICE_HOST is not set")),
        ([pod, nowhere].concat(), format!("{UNREACHABLE}/nowhere/token: No such file or directory (os error 2)")),
    ] {
        let Output { status, stdout, stderr } = memring(&["prestop"]).args(&arguments).output().expect("it runs");
        let line = format!("prestop: {line}\n");
        assert_eq!((status.code(), text(&stdout), text(&stderr)), (Some(0), line.as_str(), ""), "{arguments:?}");
    }
}

#[test]
fn a_wrong_flag_is_one_line() {
    for (arguments, line) in [
        (&["--wait", "5"][..], "memring: --wait 5: expected a duration such as 500ms, 30s or 15m\n"),
        (&["--statefulset", "a"], "memring: --pod is missing: --statefulset is given\n"),
        (
            &["--statefulset", "a", "--pod", "b-0", "--namespace", "c"],
            "memring: --pod b-0: no pod of --statefulset a\n",
        ),
        (
            &["--statefulset", "a", "--pod", "a-0", "--namespace", "../b"],
            "memring: --namespace ../b: expected a name of Kubernetes\n",
        ),
    ] {
        let Output { status, stdout, stderr } = memring(&["prestop"]).args(arguments).output().expect("it runs");
        assert_eq!((status.code(), text(&stdout), text(&stderr)), (Some(2), "", line), "{arguments:?}");
    }
}

#[test]
fn a_pod_that_scaling_in_removes_has_left_the_ring_when_the_hook_ends() {
    let [first, second] = Node::pair(["memring-0", "memring-2"]);
    let mut client = TcpStream::connect(&second.address).expect("it answers");
    client.write_all(b"set key 0 0 1\r\nv\r\n").expect("sent");
    let mut stored = [0; 8];
    client.read_exact(&mut stored).expect("answered");
    assert_eq!(&stored, b"STORED\r\n");

    let authority = Authority::new();
    let two = set(r#""replicas": 2"#);
    let (said, _) = prestop(&["--admin", &second.admin], &authority, &authority, Some(two.clone()));
    let told = "prestop: statefulset memring is to have 2 pods, and not this one\n";
    assert!(said.starts_with(told) && said.contains("prestop: drained: "), "{said}");
    eventually("the other hears of it", || (first.members() == 1).then_some(()));
    assert!(second.ask("/api/drain").contains(r#""state":"drained""#));
    client.write_all(b"get key\r\n").expect("sent");
    let mut found = [0; 23];
    client.read_exact(&mut found).expect("answered");
    assert_eq!(&found, b"VALUE key 0 1\r\nv\r\nEND\r\n", "it forwards its clients");

    // The other is the last one: nobody can take over, and the stop goes on all the same.
    let (said, _) = prestop(&["--admin", &first.admin], &authority, &authority, Some(two));
    assert!(said.starts_with(&format!("{told}prestop: not drained: this is the last node of its ring")), "{said}");
}

#[test]
fn a_drain_that_takes_too_long_is_left_to_the_stop() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let admin = listener.local_addr().expect("bound").to_string();
    // A node that begins to drain and never has; its thread ends with the test's process.
    let node = std::thread::Builder::new().spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("asked");
            let mut head = [0; 1024];
            let read = stream.read(&mut head).expect("asked");
            let status = if head[..read].starts_with(b"POST") { "202 Accepted" } else { "200 OK" };
            let body = r#"{"state":"draining","partitions_total":4,"partitions_left":3,"error":null}"#;
            // The hook may have given up meanwhile.
            let _ = stream.write_all(format!("HTTP/1.0 {status}\r\n\r\n{body}").as_bytes());
        }
    });
    node.expect("a thread");
    let authority = Authority::new();
    let none = set(r#""replicas": 0"#);
    let (said, _) = prestop(&["--admin", &admin, "--wait", "1s"], &authority, &authority, Some(none));
    assert!(said.contains("25 %: 3 of 4 partitions left\n"), "{said}");
    assert!(said.ends_with("prestop: not drained within 1s: the stop goes on\n"), "{said}");
}
