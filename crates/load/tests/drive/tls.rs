//! TLS, with a server of rustls.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use procession_load::{Class, Keep, Spec, probe};
use procession_testkit::leaks::Oracle;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{
    HandshakeKind, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};

use crate::server::{Client, GOOD, Server, requests, run};

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/tls")
        .join(name)
}

fn certificate(name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(file(name)).unwrap()
}

/// A server's side of TLS; `strict`: it wants a certificate of the client.
fn tls_of_server(strict: bool) -> Arc<ServerConfig> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = if strict {
        let mut roots = RootCertStore::empty();
        roots.add(certificate("ca.pem")).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
        builder.with_client_cert_verifier(verifier.build().unwrap())
    } else {
        builder.with_no_client_auth()
    };
    let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
    Arc::new(
        builder
            .with_single_cert(vec![certificate("server.pem")], key)
            .unwrap(),
    )
}

/// Answers each request; counts those who came with a session that they had before.
fn tls_server(strict: bool, resumed: &Arc<AtomicU64>) -> Server {
    let (config, resumed) = (tls_of_server(strict), Arc::clone(resumed));
    Server::start(move |client: Client| {
        let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut stream = StreamOwned::new(connection, client.stream);
        let mut buffer = [0; 4096];
        while let Ok(1..) = stream.read(&mut buffer) {
            if stream.conn.handshake_kind() == Some(HandshakeKind::Resumed) {
                resumed.fetch_add(1, Ordering::SeqCst);
            }
            if stream.write_all(GOOD).is_err() {
                break;
            }
        }
    })
}

fn https(server: &Server) -> Spec {
    let mut spec = server.spec();
    spec.targets[0].tls = true;
    spec.until = requests(20);
    spec.connections = 2;
    spec
}

#[test]
fn tls_is_spoken_and_sessions_are_resumed() {
    let oracle = Oracle::start();
    let resumed = Arc::default();
    let server = tls_server(false, &resumed);
    let mut spec = https(&server);
    probe(&spec).unwrap();
    let report = run(spec.clone());
    assert_eq!((report.answers, report.connected), (20, 2), "{report:#?}");
    spec.keep = Keep::Close;
    let report = run(spec);
    assert_eq!((report.answers, report.connected), (20, 20), "{report:#?}");
    assert!(resumed.load(Ordering::SeqCst) >= 10);
    drop(server);
    oracle.check();
}

#[test]
fn with_an_authority_names_and_chains_are_verified() {
    let oracle = Oracle::start();
    let server = tls_server(false, &Arc::default());
    let mut spec = https(&server);
    spec.tls.ca = Some(file("ca.pem"));
    let report = run(spec.clone());
    assert_eq!(
        (report.answers, report.failed(Class::Tls)),
        (0, 20),
        "no name: {report:#?}"
    );
    spec.tls.server_name = Some("server.test".into());
    assert_eq!(run(spec.clone()).answers, 20);
    spec.tls.ca = Some(file("client.pem"));
    assert_eq!(run(spec).failed(Class::Tls), 20);
    drop(server);
    oracle.check();
}

#[test]
fn a_certificate_is_shown_to_a_server_that_wants_one() {
    let oracle = Oracle::start();
    let server = tls_server(true, &Arc::default());
    let mut spec = https(&server);
    let report = run(spec.clone());
    assert_eq!(
        (report.answers, report.failed(Class::Tls)),
        (0, 20),
        "{report:#?}"
    );
    spec.tls.cert = Some(file("client.pem"));
    spec.tls.key = Some(file("client.key"));
    assert_eq!(run(spec).answers, 20);
    drop(server);
    oracle.check();
}

#[test]
fn who_speaks_no_tls_is_told_apart() {
    let oracle = Oracle::start();
    let server = Server::good();
    let mut spec = https(&server);
    // It takes the greeting for a head that goes on.
    spec.timeout = Duration::from_millis(100);
    let report = run(spec);
    assert_eq!(report.failed(Class::TimedOut), 20, "{report:#?}");
    drop(server);
    let server = Server::start(|mut client| {
        let _ = client.stream.read(&mut [0; 64]);
        let _ = client.send(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let report = run(https(&server));
    assert_eq!(report.failed(Class::Tls), 20, "{report:#?}");
    drop(server);
    let server = tls_server(false, &Arc::default());
    let mut spec = server.spec();
    spec.until = requests(4);
    let report = run(spec);
    assert_eq!((report.answers, report.lost()), (0, 4), "{report:#?}");
    drop(server);
    oracle.check();
}
