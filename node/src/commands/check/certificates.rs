//! The certificates of the local domains, as a peer sees them.

use entente_xmpp_core::jid::domain_to_ascii;
use rustls_pki_types::UnixTime;

use super::Report;
use crate::admin::EXPIRY_WARNING_DAYS;
use crate::clock::wall_ms;
use crate::commands::CommandError;
use crate::config::{Config, DomainConfig};
use crate::tls::pem::Identity;
use crate::tls::{PeerTrust, proof};

pub(super) fn check(config: &Config, report: &mut Report) -> Result<(), CommandError> {
    let trust = PeerTrust::new(proof::load_anchors(config.xmpp.trusted_ca_file.as_deref())?);
    for (domain, files) in &config.domains {
        one(domain, files, &trust, report);
    }
    if config.sip.is_on() {
        match crate::tls::sip::missing_names(&config.sip, &config.domains) {
            Ok(notes) => {
                for note in notes {
                    report.warning(
                        "certificate for SIP",
                        note,
                        "name them in one certificate: sip.certificate_file",
                    );
                }
            }
            Err(error) => report.fault("certificate for SIP", error.to_string(), "see above"),
        }
    }
    Ok(())
}

fn one(domain: &str, files: &DomainConfig, trust: &PeerTrust, report: &mut Report) {
    let about = format!("certificate of {domain}");
    let file = files.certificate_file.display();
    let ascii =
        domain_to_ascii(domain).map_or_else(|_| domain.to_owned(), |name| name.into_owned());
    let identity = match Identity::load(&files.certificate_file, &files.private_key_file) {
        Ok(identity) => identity,
        Err(error) => {
            let key = format!("correct domains.\"{domain}\"");
            return report.fault(about, error.to_string(), key);
        }
    };
    if let Err(error) = crate::tls::domains::check_name(&identity, &files.certificate_file, &ascii)
    {
        return report.fault(about, error.to_string(), "peers will not accept this one");
    }
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(&identity.chain[0]) else {
        return report.fault(
            about,
            format!("{file} cannot be read as X.509"),
            "name the file that the CA gave you",
        );
    };
    let renew = "get a new one, put it there and reload (SIGHUP)";
    let now = (wall_ms() / 1000) as i64;
    let (begin, end) = (
        parsed.validity().not_before.timestamp(),
        parsed.validity().not_after.timestamp(),
    );
    let days = (end - now) / 86_400;
    if now < begin {
        report.fault(
            about,
            format!("{file} is not valid yet"),
            "correct the clock of this machine, or wait",
        );
    } else if now > end {
        report.fault(about, format!("{file} ended {} days ago", -days), renew);
    } else if days < EXPIRY_WARNING_DAYS {
        report.warning(about, format!("{file} ends in {days} days"), renew);
    } else if !trust.proves(&identity.chain, &ascii, UnixTime::now()) {
        report.warning(
            about,
            format!("{file} names it, but does not lead to a CA that this machine trusts"),
            "put the CA's intermediate certificates behind it in the file; with a CA of your own, each peer must trust it",
        );
    } else {
        report.ok(about, format!("names it, {days} days left"));
    }
}
