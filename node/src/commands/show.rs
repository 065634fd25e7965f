//! Texts for people: status tables, the effective configuration, what a deep check finds.

use std::fmt::Write;

use super::CommandError;
use crate::admin::{Peers, Status};
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
    if let Some(drain) = &status.drain {
        writeln!(out, "  drain: {}", drain.text())?;
    }
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
            writeln!(out, "  {}", fields(stream))?;
        }
    }
    Ok(())
}

/// The fields of an object that are plain values, on one line.
fn fields(object: &serde_json::Value) -> String {
    let fields: Vec<String> = object
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| {
            let value = match value {
                serde_json::Value::Null | serde_json::Value::Object(_) => return None,
                serde_json::Value::Array(items) => {
                    let words: Option<Vec<&str>> =
                        items.iter().map(serde_json::Value::as_str).collect();
                    words.filter(|words| !words.is_empty())?.join(" ")
                }
                serde_json::Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            Some(format!("{key} {value}"))
        })
        .collect();
    fields.join(", ")
}

/// `entente peers`.
pub(super) fn peers(peers: &Peers) -> String {
    let mut out = String::new();
    // Writing into a String cannot fail.
    let _ = write_peers(&mut out, peers);
    if out.is_empty() {
        out.push_str("no peer is configured for SIP, and no stream is open");
    }
    out.trim_end().to_owned()
}

fn write_peers(out: &mut String, peers: &Peers) -> std::fmt::Result {
    for peer in peers.sip.as_array().into_iter().flatten() {
        writeln!(out, "sip: {}", fields(peer))?;
        for part in ["connections", "queues"] {
            for item in peer[part].as_array().into_iter().flatten() {
                writeln!(out, "  {}: {}", part.trim_end_matches('s'), fields(item))?;
            }
        }
    }
    for stream in peers.xmpp.as_array().into_iter().flatten() {
        writeln!(out, "xmpp: {}", fields(stream))?;
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
    crate::secrets::check(config).map_err(crate::app::AppError::from)?;
    crate::tls::proof::load_anchors(config.xmpp.trusted_ca_file.as_deref())?;
    let mut notes = Vec::new();
    if config.sip.is_on() {
        let anchors = crate::tls::proof::load_anchors(config.sip.trusted_ca_file.as_deref())?;
        let trust = crate::tls::PeerTrust::new(anchors);
        crate::tls::SipCertificates::load(&config.sip, &config.domains, trust)?;
        notes.extend(crate::tls::sip::missing_names(
            &config.sip,
            &config.domains,
        )?);
    }
    let plan = crate::dns::plan(config).map_err(crate::app::AppError::from)?;
    let problems = plan.problems();
    notes.extend(problems.iter().map(|problem| format!("dns: {problem}")));
    for (name, domain) in &config.domains {
        if let Some(days) = crate::admin::days_left(&domain.certificate_file)
            && days < crate::admin::EXPIRY_WARNING_DAYS
        {
            let file = domain.certificate_file.display();
            let when = match days {
                ..0 => format!("ended {} days ago: nobody will accept it", -days),
                _ => format!("ends in {days} days"),
            };
            notes.push(format!(
                "domains.\"{name}\".certificate_file: {file} {when}; get a new one, put it there and reload (SIGHUP)"
            ));
        }
    }
    Ok(notes)
}
