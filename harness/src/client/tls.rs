//! TLS towards the target. The client's code reads and writes plain TCP: for each connection a thread carries bytes
//! between that and the encrypted one, with the ends of both.

use std::fmt;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore,
    SignatureScheme,
};

/// How much may wait for the slower side of a connection.
const WAITING_BYTES_MAX: usize = 256 << 10;
const CHUNK: usize = 16 << 10;

/// Whose certificates count.
#[derive(Clone)]
pub struct Trust(Arc<ClientConfig>);

impl Trust {
    /// The authorities of the file `ca`, those of the system without one, or anybody.
    ///
    /// # Errors
    /// The file cannot be read or holds no certificate, or the system has none.
    pub fn new(ca: Option<&Path>, is_anybody: bool) -> Result<Trust, String> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|why| why.to_string())?;
        let builder = if is_anybody {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        } else {
            let found = match ca {
                Some(file) => authorities(file)?,
                None => rustls_native_certs::load_native_certs().certs,
            };
            if found.is_empty() {
                return Err("the system trusts no certificates: give --ca FILE".to_owned());
            }
            let mut store = RootCertStore::empty();
            store.add_parsable_certificates(found);
            builder.with_root_certificates(store)
        };
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Trust(Arc::new(config)))
    }
}

fn authorities(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = || CertificateDer::pem_file_iter(file)?.collect::<Result<Vec<_>, _>>();
    let found = read().map_err(|why| format!("{}: {why}", file.display()))?;
    if found.is_empty() {
        return Err(format!("{}: holds no certificate (PEM)", file.display()));
    }
    Ok(found)
}

/// How to speak TLS to one host.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Tls({:?})", self.name)
    }
}

impl Tls {
    /// # Errors
    /// No certificate can name the host.
    pub fn new(trust: &Trust, host: &str) -> Result<Tls, String> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| format!("{host:?} is no name that a certificate can have"))?;
        Ok(Tls { config: trust.0.clone(), name })
    }

    /// Makes the handshake within `wait`, and returns the plain side of the connection.
    ///
    /// # Errors
    /// The peer speaks no TLS, is not trusted, or is not done in time.
    pub fn open(&self, sealed: TcpStream, wait: Duration) -> Result<TcpStream, String> {
        let mut tls = ClientConnection::new(self.config.clone(), self.name.clone())
            .map_err(|why| why.to_string())?;
        handshake(&mut tls, &sealed, wait)?;
        let (plain, inner) = pair().map_err(|why| why.to_string())?;
        for stream in [&sealed, &inner] {
            stream.set_nonblocking(true).map_err(|why| why.to_string())?;
        }
        let relay = Relay {
            tls,
            sealed,
            plain: inner,
            received: Vec::new(),
            has_client_ended: false,
            has_server_ended: false,
        };
        thread::spawn(move || relay.run());
        Ok(plain)
    }
}

fn handshake(tls: &mut ClientConnection, sealed: &TcpStream, wait: Duration) -> Result<(), String> {
    let deadline = Instant::now() + wait;
    while tls.is_handshaking() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(format!("no handshake in {wait:?}"));
        }
        let step = |tls: &mut ClientConnection| -> io::Result<usize> {
            sealed.set_read_timeout(Some(left))?;
            sealed.set_write_timeout(Some(left))?;
            while tls.wants_write() {
                tls.write_tls(&mut &*sealed)?;
            }
            if tls.is_handshaking() { tls.read_tls(&mut &*sealed) } else { Ok(1) }
        };
        match step(tls) {
            Ok(0) => return Err("the connection ended in the handshake".to_owned()),
            Ok(_) => {}
            Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Err(format!("no handshake in {wait:?}"));
            }
            Err(why) => return Err(why.to_string()),
        }
        if let Err(why) = tls.process_new_packets() {
            // The alert that says why goes out as far as it can.
            let _ = tls.write_tls(&mut &*sealed);
            return Err(in_words(&why));
        }
    }
    Ok(())
}

/// What is wrong, and for a certificate of one's own what to do about it.
fn in_words(why: &rustls::Error) -> String {
    let rustls::Error::InvalidCertificate(fault) = why else {
        return match why {
            rustls::Error::InvalidMessage(_) => "the port does not speak it".to_owned(),
            other => other.to_string(),
        };
    };
    // The rest of the sentence of rustls is its own names of things.
    const OF_A_CA: &str = "CaUsedAsEndEntity";
    let hint = match fault {
        CertificateError::Other(other) if format!("{other:?}").contains(OF_A_CA) => {
            return format!("invalid peer certificate: {CA_AS_SERVER}");
        }
        CertificateError::UnknownIssuer => {
            "it is signed by none of the trusted authorities; --ca FILE names others, --insecure trusts any"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for another host than that of --target (a certificate needs a subjectAltName; a common \
             name alone does not count)"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired",
        _ => return why.to_string(),
    };
    format!("{why}: {hint}")
}

/// `openssl req -x509` makes such a certificate without further options.
const CA_AS_SERVER: &str = "the server shows a certificate of an authority (CA:TRUE) as its own, which no client has \
    to take. Make one for the server: openssl req -x509 -newkey rsa:2048 -nodes -days 30 -keyout key.pem -out cert.pem \
    -subj /CN=HOST -addext subjectAltName=DNS:HOST -addext basicConstraints=critical,CA:FALSE (an address instead of a \
    name: IP:127.0.0.1), and give it as --ca cert.pem; or run with --insecure";

/// Two ends of one TCP connection in this process.
fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let one = TcpStream::connect(listener.local_addr()?)?;
    loop {
        let (two, from) = listener.accept()?;
        // Anybody on this machine may connect to the listener.
        if from == one.local_addr()? {
            one.set_nodelay(true)?;
            two.set_nodelay(true)?;
            return Ok((one, two));
        }
    }
}

/// One connection: what a thread carries between its sides.
struct Relay {
    tls: ClientConnection,
    sealed: TcpStream,
    plain: TcpStream,
    /// From the server, for the client.
    received: Vec<u8>,
    has_client_ended: bool,
    has_server_ended: bool,
}

/// One side is gone, and nothing more can be carried.
struct Broken;

impl Relay {
    fn run(mut self) {
        while !(self.has_client_ended && self.has_server_ended && self.received.is_empty()) {
            let Ok((plain, sealed)) = self.wait() else { return };
            if self.turn(plain, sealed).is_err() {
                // As one side was reset, so is the other.
                for stream in [&self.sealed, &self.plain] {
                    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
                }
                return;
            }
        }
        while self.tls.wants_write() && self.tls.write_tls(&mut &self.sealed).is_ok() {}
    }

    /// Waits for what can be done on the plain and the encrypted side.
    fn wait(&self) -> io::Result<(PollFlags, PollFlags)> {
        let (mut plain, mut sealed) = (PollFlags::empty(), PollFlags::empty());
        plain.set(PollFlags::IN, !self.has_client_ended && !self.tls.wants_write());
        plain.set(PollFlags::OUT, !self.received.is_empty());
        let has_space = self.received.len() < WAITING_BYTES_MAX;
        sealed.set(PollFlags::IN, !self.has_server_ended && has_space);
        sealed.set(PollFlags::OUT, self.tls.wants_write());
        // A side that nothing is awaited of would still report its end, again and again.
        let mut fds: Vec<PollFd<'_>> = [(&self.plain, plain), (&self.sealed, sealed)]
            .into_iter()
            .filter(|(_, flags)| !flags.is_empty())
            .map(|(stream, flags)| PollFd::new(stream, flags))
            .collect();
        while let Err(why) = poll(&mut fds, None) {
            if why != rustix::io::Errno::INTR {
                return Err(why.into());
            }
        }
        let mut found = fds.iter().map(PollFd::revents);
        let mut of = |flags: PollFlags| {
            if flags.is_empty() { flags } else { found.next().unwrap_or(flags) }
        };
        Ok((of(plain), of(sealed)))
    }

    fn turn(&mut self, plain: PollFlags, sealed: PollFlags) -> Result<(), Broken> {
        let is_broken = PollFlags::ERR | PollFlags::NVAL;
        if plain.intersects(is_broken) || sealed.intersects(is_broken) {
            return Err(Broken);
        }
        let readable = PollFlags::IN | PollFlags::HUP;
        if plain.intersects(readable) && !self.has_client_ended {
            self.take_from_client()?;
        }
        if sealed.intersects(readable) && !self.has_server_ended {
            self.take_from_server()?;
        }
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut &self.sealed) {
                Ok(_) => {}
                Err(why) if why.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return Err(Broken),
            }
        }
        if self.has_client_ended && !self.tls.wants_write() {
            let _ = self.sealed.shutdown(Shutdown::Write);
        }
        while !self.received.is_empty() {
            match (&self.plain).write(&self.received) {
                Ok(count) => drop(self.received.drain(..count)),
                Err(why) if why.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return Err(Broken),
            }
        }
        if self.has_server_ended && self.received.is_empty() {
            let _ = self.plain.shutdown(Shutdown::Write);
        }
        Ok(())
    }

    fn take_from_client(&mut self) -> Result<(), Broken> {
        let mut chunk = [0; CHUNK];
        match (&self.plain).read(&mut chunk) {
            Ok(0) => {
                self.has_client_ended = true;
                self.tls.send_close_notify();
            }
            Ok(count) => {
                self.tls.writer().write_all(&chunk[..count]).map_err(|_| Broken)?;
            }
            Err(why) if why.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return Err(Broken),
        }
        Ok(())
    }

    fn take_from_server(&mut self) -> Result<(), Broken> {
        match self.tls.read_tls(&mut &self.sealed) {
            Ok(0) => self.has_server_ended = true,
            Ok(_) => {
                let state = self.tls.process_new_packets().map_err(|_| Broken)?;
                let at = self.received.len();
                self.received.resize(at + state.plaintext_bytes_to_read(), 0);
                self.tls.reader().read_exact(&mut self.received[at..]).map_err(|_| Broken)?;
                self.has_server_ended |= state.peer_has_closed();
            }
            Err(why) if why.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return Err(Broken),
        }
        Ok(())
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
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
