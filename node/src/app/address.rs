//! The address by which the other nodes reach this one.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};

use super::AppError;
use crate::config::Config;

/// The name that other nodes use for this one, and its address.
pub(super) fn advertise(config: &Config) -> Result<(String, IpAddr), AppError> {
    let name = match &config.cluster.advertise {
        Some(name) => name.clone(),
        None => default_address()
            .unwrap_or(IpAddr::from([127, 0, 0, 1]))
            .to_string(),
    };
    let address = (name.as_str(), 0)
        .to_socket_addrs()
        .ok()
        .and_then(|mut addresses| {
            addresses
                .find(SocketAddr::is_ipv4)
                .or_else(|| (name.as_str(), 0).to_socket_addrs().ok()?.next())
        })
        .map(|address| address.ip())
        .ok_or_else(|| AppError::Advertise(name.clone()))?;
    Ok((name, address))
}

/// The address of the interface with the default route; nothing is sent.
fn default_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_unspecified()).then_some(address)
}
