//! TLS towards a server: whose certificates are trusted, and the state of one connection.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::ended::Ended;

/// Whom the clients trust.
#[derive(Clone)]
pub struct Trust {
    config: Arc<ClientConfig>,
    /// None: anybody.
    roots: Option<Vec<CertificateDer<'static>>>,
}

impl Trust {
    /// The authorities of the file `ca`, those of the system without one, or anybody.
    ///
    /// # Errors
    /// The file is unreadable or holds no certificate, or the system has none.
    pub fn new(ca: Option<&Path>, is_anybody: bool) -> anyhow::Result<Self> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .context("TLS versions")?;
        let (config, roots) = if is_anybody {
            let verifier = Arc::new(Anybody(provider));
            (builder.dangerous().with_custom_certificate_verifier(verifier), None)
        } else {
            let roots = match ca {
                Some(file) => authorities(file)?,
                None => rustls_native_certs::load_native_certs().certs,
            };
            ensure!(!roots.is_empty(), "the system trusts no certificates: give --ca FILE");
            let mut store = RootCertStore::empty();
            store.add_parsable_certificates(roots.iter().cloned());
            (builder.with_root_certificates(store), Some(roots))
        };
        let mut config = config.with_no_client_auth();
        // Every client is a user of its own: none resumes the session of another.
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), roots })
    }

    /// The same for a client of HTTP requests.
    #[must_use]
    pub fn of_requests(&self) -> TlsConfig {
        let builder = TlsConfig::builder();
        match &self.roots {
            None => builder.disable_verification(true),
            Some(roots) => {
                let roots = roots.iter().map(|der| Certificate::from_der(der).to_owned());
                builder.root_certs(RootCerts::new_with_certs(&roots.collect::<Vec<_>>()))
            }
        }
        .build()
    }

    /// The client's side of a connection to `host`.
    ///
    /// # Errors
    /// The host can have no certificate.
    pub fn connect(&self, host: &str) -> Result<Tls, Ended> {
        let name =
            ServerName::try_from(host.to_owned()).map_err(|_| failed("the name of the host"))?;
        let mut connection =
            ClientConnection::new(Arc::clone(&self.config), name).map_err(failed)?;
        // Sessions bound what they queue.
        connection.set_buffer_limit(None);
        Ok(Tls { connection, sealed: Vec::new() })
    }
}

fn authorities(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read = || CertificateDer::pem_file_iter(file)?.collect::<Result<Vec<_>, _>>();
    let found = read().with_context(|| format!("certificates of {}", file.display()))?;
    ensure!(!found.is_empty(), "{} holds no certificate (PEM)", file.display());
    Ok(found)
}

fn failed(why: impl ToString) -> Ended {
    Ended::Tls(in_words(&why.to_string()))
}

/// What rustls has no words for.
#[must_use]
pub fn in_words(why: &str) -> String {
    let cause = "Other(OtherError(CaUsedAsEndEntity))";
    why.replace(cause, "the certificate of the server is an authority's (CA:TRUE)")
}

/// The state of one connection.
pub struct Tls {
    connection: ClientConnection,
    /// Bytes for the socket.
    sealed: Vec<u8>,
}

impl Tls {
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Takes what is to be sent; returns the bytes for the socket, which removes those it has taken.
    pub fn seal(&mut self, plain: &mut Vec<u8>) -> &mut Vec<u8> {
        // Both write to memory.
        let _ = self.connection.writer().write_all(plain);
        plain.clear();
        while self.connection.wants_write() {
            if self.connection.write_tls(&mut self.sealed).is_err() {
                break;
            }
        }
        &mut self.sealed
    }

    /// Takes what was received, and appends what it holds to `plain`. True: the server sends no more.
    ///
    /// # Errors
    /// The bytes are not TLS, or the certificate is not trusted.
    pub fn open(&mut self, mut sealed: &[u8], plain: &mut Vec<u8>) -> Result<bool, Ended> {
        while !sealed.is_empty() {
            self.connection.read_tls(&mut sealed).map_err(failed)?;
            let state = self.connection.process_new_packets().map_err(failed)?;
            let at = plain.len();
            plain.resize(at + state.plaintext_bytes_to_read(), 0);
            self.connection.reader().read_exact(&mut plain[at..]).map_err(failed)?;
            if state.peer_has_closed() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Trusts every certificate, whose owner must still have its key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
