//! Questions to name servers, with dig.

use std::net::IpAddr;

use super::node::DNS_PORT;

/// The lines of `dig +short`; empty when nobody answers.
pub async fn dig(server: IpAddr, name: &str, kind: &str) -> Vec<String> {
    let output = tokio::process::Command::new("dig")
        .args([
            &format!("@{server}"),
            "-p",
            &DNS_PORT.to_string(),
            "+short",
            "+tries=1",
            "+time=1",
            name,
            kind,
        ])
        .output()
        .await
        .unwrap();
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter(|line| !line.starts_with(';'))
        .map(str::to_owned)
        .collect()
}

/// The hosts that `_service._tcp.domain` names, sorted.
pub async fn srv_targets(server: IpAddr, service: &str, domain: &str) -> Vec<String> {
    let lines = dig(server, &format!("_{service}._tcp.{domain}"), "SRV").await;
    let mut hosts: Vec<String> = lines
        .iter()
        .filter_map(|line| line.split(' ').nth(3))
        .map(|host| host.trim_end_matches('.').to_owned())
        .collect();
    hosts.sort();
    hosts
}
