//! A proxy that speaks TLS for a plain server.

use std::io::{ErrorKind, Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConnection, StreamOwned};

/// Starts the proxy; returns its URL and a file with its certificate.
pub fn start(target: &str) -> (String, PathBuf) {
    start_as(target, IsCa::NoCa)
}

/// The same with a certificate that is one of an authority, or of none.
pub fn start_as(target: &str, is_ca: IsCa) -> (String, PathBuf) {
    let target = target.strip_prefix("http://").unwrap().to_owned();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    params.is_ca = is_ca;
    let certificate = params.self_signed(&key).unwrap();
    let file = super::scratch().join("ca.pem");
    std::fs::write(&file, certificate.pem()).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let upstream = TcpStream::connect(&target).unwrap();
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            std::thread::spawn(move || pass(StreamOwned::new(connection, stream), upstream));
        }
    });
    (url, file)
}

/// Copies in turns: the state of TLS belongs to one thread.
fn pass(mut client: StreamOwned<ServerConnection, TcpStream>, mut server: TcpStream) -> Option<()> {
    for stream in [&client.sock, &server] {
        stream.set_nodelay(true).ok()?;
        stream.set_read_timeout(Some(Duration::from_millis(1))).ok()?;
    }
    loop {
        if let Some(bytes) = some(&mut client)? {
            server.write_all(&bytes).ok()?;
        }
        if let Some(bytes) = some(&mut server)? {
            client.write_all(&bytes).ok()?;
            client.flush().ok()?;
        }
    }
}

/// What can be read within a moment; none: the end.
fn some(from: &mut impl Read) -> Option<Option<Vec<u8>>> {
    let mut bytes = vec![0; 16_384];
    match from.read(&mut bytes) {
        Ok(0) => None,
        Ok(read) => Some(Some(bytes[..read].to_vec())),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Some(None)
        }
        Err(_) => None,
    }
}
