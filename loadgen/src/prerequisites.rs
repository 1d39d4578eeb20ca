//! What a run needs of this machine, checked before anything is started.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, TcpListener};

use anyhow::{Context as _, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::figures::COUNTED;
use crate::scenario::{Scenario, Transport};
use crate::target::Target;

/// Descriptors that are not a client's: timers, files, pipes, the runtime of each thread.
const OTHER_DESCRIPTORS: u64 = 256;
const PORT_RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// # Errors
/// Something is missing; the message says what, how much of it, and what to do.
pub fn check(scenario: &Scenario, targets: &[Target]) -> anyhow::Result<()> {
    check_service_levels(scenario)?;
    for source in &scenario.sources {
        TcpListener::bind(SocketAddr::new(*source, 0))
            .with_context(|| format!("sources: {source} is no address of this machine"))?;
    }
    let sockets = sockets_per_client(scenario);
    let needed = scenario.clients_max() as u64 * sockets + OTHER_DESCRIPTORS;
    let allowed = raise_descriptor_limit(needed)?;
    ensure!(
        allowed >= needed,
        "{needed} descriptors needed, {allowed} allowed: raise `ulimit -n` or take fewer clients"
    );
    let Some(ports) = local_ports() else { return Ok(()) };
    check_ports(scenario, targets, sockets, ports)
}

/// Every client is a descriptor, and the usual limit is small. Returns the limit there is now, at
/// most what the system gives.
///
/// # Errors
/// The limit cannot be read.
pub fn raise_descriptor_limit(needed: u64) -> anyhow::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < needed {
        // A privileged process may raise the hard limit as well.
        let raised = setrlimit(Resource::RLIMIT_NOFILE, needed, hard.max(needed))
            .or_else(|_| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
        raised.context("raise the limit of descriptors")?;
    }
    Ok(getrlimit(Resource::RLIMIT_NOFILE)?.0)
}

/// Long-polling has one connection that waits and one that sends.
fn sockets_per_client(scenario: &Scenario) -> u64 {
    if scenario.transport == Transport::Polling { 2 } else { 1 }
}

/// A figure of the server is there only if the scenario says where to read it.
fn check_service_levels(scenario: &Scenario) -> anyhow::Result<()> {
    for slo in &scenario.slo {
        let Some(figure) = slo.metric().strip_prefix("server.") else { continue };
        let (has_it, key) = match figure {
            COUNTED => (scenario.server_metrics.is_some(), "server_metrics"),
            _ => (scenario.server_pid.is_some(), "server_pid"),
        };
        ensure!(has_it, "SLO {:?} needs {key}", slo.metric());
    }
    Ok(())
}

/// How many ports the kernel gives to connections of one address to one target.
fn local_ports() -> Option<u64> {
    let text = std::fs::read_to_string(PORT_RANGE).ok()?;
    let mut ends = text.split_whitespace().map_while(|end| end.parse::<u64>().ok());
    let (low, high) = (ends.next()?, ends.next()?);
    Some((high + 1).saturating_sub(low))
}

fn check_ports(
    scenario: &Scenario,
    targets: &[Target],
    sockets: u64,
    ports: u64,
) -> anyhow::Result<()> {
    let mut needed: HashMap<(Option<IpAddr>, SocketAddr), u64> = HashMap::new();
    for client in 0..scenario.clients_max() {
        let source = match scenario.sources.as_slice() {
            [] => None,
            sources => Some(sources[client % sources.len()]),
        };
        let target = targets[client % targets.len()].address;
        *needed.entry((source, target)).or_insert(0) += sockets;
    }
    for ((source, target), needed) in needed {
        let source = source.map_or("one address".to_owned(), |source| source.to_string());
        ensure!(
            needed <= ports,
            "{needed} local ports needed from {source} to {target}, {ports} there are ({PORT_RANGE}): \
             take more `sources`, a wider range, or fewer clients"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Vec<Target> {
        vec![Target::parse("http://127.0.0.1:8090").unwrap()]
    }

    #[test]
    fn a_figure_of_the_server_needs_its_process() {
        let slo = vec!["server.cpu_share<1".parse().unwrap()];
        let mut scenario = Scenario { slo, ..Scenario::default() };
        let why = check(&scenario, &target()).unwrap_err().to_string();
        assert_eq!(why, "SLO \"server.cpu_share\" needs server_pid");
        scenario.server_pid = Some(1);
        check(&scenario, &target()).unwrap();
    }

    #[test]
    fn ports_are_counted_per_source_and_target() {
        let mut scenario = Scenario { clients: 30, ..Scenario::default() };
        assert!(check_ports(&scenario, &target(), 1, 30).is_ok());
        let why = check_ports(&scenario, &target(), 2, 59).unwrap_err().to_string();
        assert!(
            why.starts_with("60 local ports needed from one address to 127.0.0.1:8090"),
            "{why}"
        );
        scenario.sources = vec!["127.0.0.2".parse().unwrap(), "127.0.0.3".parse().unwrap()];
        assert!(check_ports(&scenario, &target(), 1, 15).is_ok());
        assert!(check_ports(&scenario, &target(), 1, 14).is_err());
    }

    #[test]
    fn an_address_of_another_machine_is_no_source() {
        let sources = vec!["192.0.2.1".parse().unwrap()];
        let why = check(&Scenario { sources, ..Scenario::default() }, &target()).unwrap_err();
        assert_eq!(why.to_string(), "sources: 192.0.2.1 is no address of this machine");
    }
}
