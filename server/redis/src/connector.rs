//! Opens connections of every kind to every topology.

use std::time::Duration;

use redis::aio::{MultiplexedConnection, PubSub};
use redis::cluster::{ClusterClient, ClusterClientBuilder, ClusterConfig};
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    RedisConnectionInfo, TlsCertificates, TlsMode,
};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::address::{Host, Login, Topology};
use crate::failure::Failure;
use crate::link::Link;
use crate::settings::Settings;

/// Opens connections to the configured servers. Opens none by itself.
pub struct Connector {
    clients: Clients,
    connect_timeout: Duration,
    command_timeout: Duration,
}

enum Clients {
    Single(Box<Client>),
    Sentinel(Box<Mutex<SentinelClient>>),
    Cluster { nodes: Vec<Client>, client: Box<ClusterClient> },
}

/// The settings are unusable: a certificate cannot be read, for example.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the Redis settings: {0}")]
pub struct SettingsError(String);

impl Connector {
    /// Prepares the clients; connects to nothing.
    ///
    /// # Errors
    /// [`SettingsError`] when [`Settings::tls_ca`] holds no certificates.
    pub fn new(settings: &Settings) -> Result<Connector, SettingsError> {
        if settings.url.is_tls {
            // An earlier call of this process installed the same provider.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let clients =
            clients(settings).map_err(|error| SettingsError(error.category().to_owned()))?;
        Ok(Connector {
            clients,
            connect_timeout: settings.connect_timeout(),
            command_timeout: settings.command_timeout(),
        })
    }

    /// Whether the servers are a cluster.
    pub fn is_cluster(&self) -> bool {
        matches!(self.clients, Clients::Cluster { .. })
    }

    /// Opens a connection for commands that do not block.
    ///
    /// # Errors
    /// [`Failure`] of the connection or the login.
    pub async fn commands(&self) -> Result<Link, Failure> {
        self.open(self.command_timeout).await
    }

    /// Opens a connection for commands that block for up to `block`.
    ///
    /// # Errors
    /// [`Failure`] of the connection or the login.
    pub async fn blocking(&self, block: Duration) -> Result<Link, Failure> {
        self.open(block + self.command_timeout).await
    }

    async fn open(&self, response: Duration) -> Result<Link, Failure> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(Some(response));
        // The limits of the crate `redis` cover the socket; this one covers sentinels and nodes too.
        let opened = timeout(self.connect_timeout * 2, async {
            match &self.clients {
                Clients::Single(client) => one(client, &config).await.map(Link::One),
                Clients::Sentinel(_) => one(&self.master().await?, &config).await.map(Link::One),
                Clients::Cluster { client, .. } => {
                    let config = ClusterConfig::new()
                        .set_connection_timeout(self.connect_timeout)
                        .set_response_timeout(response);
                    Ok(Link::Cluster(client.get_async_connection_with_config(config).await?))
                }
            }
        });
        opened.await.map_err(|_| Failure::Timeout)?
    }

    /// Opens a connection for subscriptions. A cluster broadcasts publications to all of its nodes,
    /// so any of them can be used.
    ///
    /// # Errors
    /// [`Failure`] of the connection or the login; in a cluster, of the last node tried.
    pub async fn subscriber(&self) -> Result<PubSub, Failure> {
        let mut failure = Failure::Down;
        let clients = match &self.clients {
            Clients::Single(client) => vec![client.as_ref().clone()],
            Clients::Sentinel(_) => vec![self.master().await?],
            Clients::Cluster { nodes, .. } => nodes.clone(),
        };
        for client in clients {
            match timeout(self.connect_timeout, client.get_async_pubsub()).await {
                Ok(Ok(subscriber)) => return Ok(subscriber),
                Ok(Err(error)) => failure = error.into(),
                Err(_) => failure = Failure::Timeout,
            }
        }
        Err(failure)
    }

    async fn master(&self) -> Result<Client, Failure> {
        let Clients::Sentinel(sentinel) = &self.clients else { return Err(Failure::Down) };
        let asked =
            timeout(self.connect_timeout, async { sentinel.lock().await.async_get_client().await });
        Ok(asked.await.map_err(|_| Failure::Timeout)??)
    }
}

async fn one(
    client: &Client,
    config: &AsyncConnectionConfig,
) -> Result<MultiplexedConnection, Failure> {
    Ok(client.get_multiplexed_async_connection_with_config(config).await?)
}

fn clients(settings: &Settings) -> redis::RedisResult<Clients> {
    let address = &settings.url;
    let certificates = settings
        .tls_ca
        .as_ref()
        .filter(|_| address.is_tls)
        .map(|ca| TlsCertificates { client_tls: None, root_cert: Some(ca.pem.clone()) });
    let info = |host: &Host, database: u16| -> redis::RedisResult<ConnectionInfo> {
        let redis = login(RedisConnectionInfo::default(), &address.login)
            .set_db(i64::from(database))
            .set_lib_name("throng", env!("CARGO_PKG_VERSION"));
        Ok(addr(host, address.is_tls).into_connection_info()?.set_redis_settings(redis))
    };
    let client = |host: &Host| match &certificates {
        Some(certificates) => {
            Client::build_with_tls(info(host, address.database)?, certificates.clone())
        }
        None => Client::open(info(host, address.database)?),
    };
    match &address.topology {
        Topology::Single(host) => Ok(Clients::Single(Box::new(client(host)?))),
        Topology::Sentinel { hosts, service, login: sentinel_login } => {
            let hosts = hosts.iter().map(|host| addr(host, address.is_tls));
            let mut builder =
                SentinelClientBuilder::new(hosts, service, SentinelServerType::Master)?
                    .set_client_to_redis_db(i64::from(address.database));
            if let Some(user) = &address.login.user {
                builder = builder.set_client_to_redis_username(user);
            }
            if let Some(password) = &address.login.password {
                builder = builder.set_client_to_redis_password(password.reveal());
            }
            if let Some(user) = &sentinel_login.user {
                builder = builder.set_client_to_sentinel_username(user);
            }
            if let Some(password) = &sentinel_login.password {
                builder = builder.set_client_to_sentinel_password(password.reveal());
            }
            if address.is_tls {
                builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
            }
            if let Some(certificates) = certificates {
                builder = builder
                    .set_client_to_redis_certificates(certificates.clone())
                    .set_client_to_sentinel_certificates(certificates);
            }
            Ok(Clients::Sentinel(Box::new(Mutex::new(builder.build()?))))
        }
        Topology::Cluster(hosts) => {
            let infos: redis::RedisResult<Vec<_>> =
                hosts.iter().map(|host| info(host, 0)).collect();
            // To follow a slot that moves is a retry too, so there must be some. One after a lost
            // connection repeats what may be done already: each order has to bear that.
            let mut builder = ClusterClientBuilder::new(infos?).retries(3);
            if let Some(certificates) = certificates.clone() {
                builder = builder.certs(certificates);
            }
            let nodes: redis::RedisResult<Vec<_>> = hosts.iter().map(client).collect();
            Ok(Clients::Cluster { nodes: nodes?, client: Box::new(builder.build()?) })
        }
    }
}

fn login(mut info: RedisConnectionInfo, login: &Login) -> RedisConnectionInfo {
    if let Some(user) = &login.user {
        info = info.set_username(user);
    }
    if let Some(password) = &login.password {
        info = info.set_password(password.reveal());
    }
    info
}

fn addr(host: &Host, is_tls: bool) -> ConnectionAddr {
    let Host { name, port } = host.clone();
    if is_tls {
        ConnectionAddr::TcpTls { host: name, port, insecure: false, tls_params: None }
    } else {
        ConnectionAddr::Tcp(name, port)
    }
}
