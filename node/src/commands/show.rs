//! Texts for people: status tables, the effective configuration, what a deep check finds.

use std::fmt::Write;

use super::CommandError;
use crate::admin::Status;
use crate::config::Config;
use crate::tls::DomainCertificates;

/// `entente status`.
pub(super) fn status(status: &Status) -> String {
    let mut out = String::new();
    // Writing into a String cannot fail.
    let _ = write_status(&mut out, status);
    out.trim_end().to_owned()
}

fn write_status(out: &mut String, status: &Status) -> std::fmt::Result {
    writeln!(
        out,
        "node {} (generation {}, version {}): {}",
        status.node, status.generation, status.version, status.phase
    )?;
    for reason in &status.unready {
        writeln!(out, "  not ready: {reason}")?;
    }
    let lease = status
        .lease_age_ms
        .map_or_else(|| "none".to_owned(), |age| format!("{age} ms old"));
    writeln!(
        out,
        "  up {} s, lease {lease}, view {}, DNS serial {}",
        status.uptime_seconds, status.view_version, status.dns_serial
    )?;
    writeln!(
        out,
        "  {} client connections, {} sessions and inbound streams",
        status.client_connections, status.sessions_and_streams
    )?;
    writeln!(
        out,
        "\n{:<24} {:<10} {:<10} {:>7}  {:<22} roles",
        "member", "standing", "state", "homes", "mesh"
    )?;
    for member in &status.members {
        writeln!(
            out,
            "{:<24} {:<10} {:<10} {:>6.1}%  {:<22} {}",
            member.id, member.standing, member.state, member.home_share, member.mesh, member.roles
        )?;
    }
    if !status.links.is_empty() {
        writeln!(out, "\nlinks")?;
    }
    for link in &status.links {
        let state = if link.connected { "up" } else { "down" };
        let error = link
            .last_error
            .as_ref()
            .map_or(String::new(), |error| format!(", last error: {error}"));
        writeln!(
            out,
            "  {:<22} {state}, {} queued{error}",
            link.peer, link.queued
        )?;
    }
    writeln!(
        out,
        "\nstore: {}, leader {}, term {}, applied {}, voters {}, learners {}",
        if status.store.healthy {
            "healthy"
        } else {
            "not healthy"
        },
        status.store.leader.as_deref().unwrap_or("none"),
        status.store.term,
        status.store.applied,
        list(&status.store.voters),
        list(&status.store.learners),
    )?;
    for certificate in &status.certificates {
        if let Some(days) = certificate.expires_in_days {
            let warning = if days < crate::admin::EXPIRY_WARNING_DAYS {
                "  <- renew it"
            } else {
                ""
            };
            writeln!(
                out,
                "certificate of {}: {days} days left{warning}",
                certificate.domain
            )?;
        }
    }
    if let Some(streams) = status
        .streams
        .as_array()
        .filter(|streams| !streams.is_empty())
    {
        writeln!(out, "\nfederation streams")?;
        for stream in streams {
            let line: Vec<String> = stream
                .as_object()
                .into_iter()
                .flatten()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| {
                    format!(
                        "{key} {}",
                        value
                            .as_str()
                            .map_or_else(|| value.to_string(), str::to_owned)
                    )
                })
                .collect();
            writeln!(out, "  {}", line.join(", "))?;
        }
    }
    Ok(())
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(" ")
    }
}

/// `entente config show`: everything that counts; secrets are files, and only their names are shown.
pub(super) fn effective(config: &Config) -> String {
    format!("{config:#?}")
}

/// What a check beyond the file itself finds: certificates, keys, zones.
pub(super) fn deep_check(config: &Config) -> Result<Vec<String>, CommandError> {
    DomainCertificates::load(&config.domains)?;
    crate::tls::proof::load_anchors(config.xmpp.trusted_ca_file.as_deref())?;
    let plan = crate::dns::plan(config).map_err(crate::app::AppError::from)?;
    let mut notes: Vec<String> = plan
        .problems()
        .iter()
        .map(|problem| format!("dns: {problem}"))
        .collect();
    for (name, domain) in &config.domains {
        if let Some(days) = crate::admin::days_left(&domain.certificate_file)
            && days < crate::admin::EXPIRY_WARNING_DAYS
        {
            notes.push(format!(
                "the certificate of {name} ({}) ends in {days} days",
                domain.certificate_file.display()
            ));
        }
    }
    Ok(notes)
}
