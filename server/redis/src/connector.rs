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

/// Knows the way to the servers; opens nothing by itself.
pub struct Connector {
    way: Way,
    connect_timeout: Duration,
    command_timeout: Duration,
}

enum Way {
    Single(Box<Client>),
    Sentinel(Box<Mutex<SentinelClient>>),
    Cluster { nodes: Vec<Client>, client: Box<ClusterClient> },
}

/// The settings cannot be used: no such certificate file, for one.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the Redis settings: {0}")]
pub struct Unusable(String);

impl Connector {
    /// # Errors
    /// When the certificates are none.
    pub fn new(settings: &Settings) -> Result<Connector, Unusable> {
        if settings.address.is_tls {
            // The first provider stays; whoever came before us took the same.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let way = way(settings).map_err(|error| Unusable(error.category().to_owned()))?;
        Ok(Connector {
            way,
            connect_timeout: settings.connect_timeout,
            command_timeout: settings.command_timeout,
        })
    }

    pub fn is_cluster(&self) -> bool {
        matches!(self.way, Way::Cluster { .. })
    }

    /// A connection for commands that answer at once.
    pub async fn commands(&self) -> Result<Link, Failure> {
        self.open(self.command_timeout).await
    }

    /// A connection for commands that may wait up to `block` for something to happen.
    pub async fn blocking(&self, block: Duration) -> Result<Link, Failure> {
        self.open(block + self.command_timeout).await
    }

    async fn open(&self, response: Duration) -> Result<Link, Failure> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(Some(response));
        // The crate's own limits cover the socket; this one covers asking sentinels and nodes.
        let opened = timeout(self.connect_timeout * 2, async {
            match &self.way {
                Way::Single(client) => one(client, &config).await.map(Link::One),
                Way::Sentinel(_) => one(&self.master().await?, &config).await.map(Link::One),
                Way::Cluster { client, .. } => {
                    let config = ClusterConfig::new()
                        .set_connection_timeout(self.connect_timeout)
                        .set_response_timeout(response);
                    Ok(Link::Cluster(client.get_async_connection_with_config(config).await?))
                }
            }
        });
        opened.await.map_err(|_| Failure::Timeout)?
    }

    /// A connection for subscriptions. A cluster carries publications to all of its nodes, so any
    /// one of them will do.
    pub async fn subscriber(&self) -> Result<PubSub, Failure> {
        let mut failure = Failure::Down;
        let clients = match &self.way {
            Way::Single(client) => vec![client.as_ref().clone()],
            Way::Sentinel(_) => vec![self.master().await?],
            Way::Cluster { nodes, .. } => nodes.clone(),
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
        let Way::Sentinel(sentinel) = &self.way else { return Err(Failure::Down) };
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

fn way(settings: &Settings) -> redis::RedisResult<Way> {
    let address = &settings.address;
    let certificates = settings
        .tls_ca
        .as_ref()
        .filter(|_| address.is_tls)
        .map(|ca| TlsCertificates { client_tls: None, root_cert: Some(ca.clone()) });
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
        Topology::Single(host) => Ok(Way::Single(Box::new(client(host)?))),
        Topology::Sentinel { hosts, service, login: there } => {
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
            if let Some(user) = &there.user {
                builder = builder.set_client_to_sentinel_username(user);
            }
            if let Some(password) = &there.password {
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
            Ok(Way::Sentinel(Box::new(Mutex::new(builder.build()?))))
        }
        Topology::Cluster(hosts) => {
            let infos: redis::RedisResult<Vec<_>> =
                hosts.iter().map(|host| info(host, 0)).collect();
            let mut builder = ClusterClientBuilder::new(infos?).retries(3);
            if let Some(certificates) = certificates.clone() {
                builder = builder.certs(certificates);
            }
            let nodes: redis::RedisResult<Vec<_>> = hosts.iter().map(client).collect();
            Ok(Way::Cluster { nodes: nodes?, client: Box::new(builder.build()?) })
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
